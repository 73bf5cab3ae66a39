package handlers

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// checkAnswers refuses what would break every answer: statuses that are none, and header fields that
// say where an answer ends. Caddy itself would find that out when somebody asks.
func checkAnswers(lists ...any) (err error) {
	for _, list := range lists {
		eachHandler(list, func(handler object) {
			var problem error
			switch handler["handler"] {
			case "static_response", "error":
				problem = checkStatus(handler["status_code"])
			case "headers":
				problem = checkSetFields(at(handler, "response"))
			}
			if err == nil {
				err = problem
			}
		})
	}
	return err
}

// checkStatus refuses what is not from 100 to 999, unless a placeholder says what it is.
func checkStatus(of any) error {
	switch status := of.(type) {
	case json.Number:
		if n, err := status.Int64(); err != nil || n < 100 || n > 999 {
			return fmt.Errorf("%.64s is not a status of HTTP", status)
		}
	case string:
		if status != "" && !strings.Contains(status, "{") {
			return fmt.Errorf("%.64q is not a status of HTTP; write a text with spaces in quotes, and the status behind it", status)
		}
	}
	return nil
}

func checkSetFields(response object) error {
	for _, how := range []string{"set", "add", "replace"} {
		for name := range at(response, how) {
			if err := api.CheckAnswerField(name); err != nil {
				return err
			}
		}
	}
	return nil
}

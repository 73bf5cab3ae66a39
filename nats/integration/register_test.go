package integration

import (
	"fmt"
	"testing"

	"github.com/anishathalye/porcupine"
)

// register is what the fleet has decided of a service, as far as the test tells it apart.
type register struct {
	// label is that of the release; empty if there is none. Each release of a test has another one.
	label string
	held  bool
}

// call is an operation on a service, or a look at it.
type call struct {
	service string
	// what is deploy, rollback, pause, resume, remove or read.
	what string
	// label is that of the release which a deploy or a rollback makes.
	label string
}

// result is what became of a call.
type result struct {
	// unknown says that nobody was told: it may have had its effect then, later, or never.
	unknown bool
	// read is what a read has found.
	read register
}

// registers is the model of a fleet: one register for each service, which every operation changes in one step.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := make(map[string]int)
		for _, op := range history {
			service := op.Input.(call).service
			i, ok := at[service]
			if !ok {
				i = len(parts)
				at[service], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		s, c, r := state.(register), input.(call), output.(result)
		if c.what == "read" {
			return r.read == s, s
		}
		if c.what == "deploy" {
			return true, register{c.label, s.held}
		}
		if c.what == "remove" {
			return true, register{} // two at once may both say that it is removed
		}
		if s.label == "" {
			return r.unknown, s // it would have failed
		}
		switch c.what {
		case "rollback":
			s.label = c.label
		case "pause", "resume":
			s.held = c.what == "pause"
		}
		return true, s
	},
	DescribeOperation: func(input, output any) string {
		c, r := input.(call), output.(result)
		if c.what == "read" {
			return fmt.Sprintf("read %s: %+v", c.service, r.read)
		}
		return fmt.Sprintf("%s %s %s, unknown: %v", c.what, c.service, c.label, r.unknown)
	},
}

func TestModelRefusesHistoriesThatAFleetMustNotHave(t *testing.T) {
	at := func(from, to int64, c call, r result) porcupine.Operation {
		return porcupine.Operation{Input: c, Call: from, Output: r, Return: to}
	}
	deploy := func(label string) call { return call{service: "web", what: "deploy", label: label} }
	read := call{service: "web", what: "read"}
	found := func(label string, held bool) result { return result{read: register{label, held}} }
	unknown := result{unknown: true}
	for name, h := range map[string]struct {
		ops []porcupine.Operation
		ok  bool
	}{
		"a decision that is lost":        {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 3, deploy("b"), result{}), at(4, 5, read, found("a", false))}, false},
		"rivals in any order":            {[]porcupine.Operation{at(0, 3, deploy("a"), result{}), at(0, 3, deploy("b"), result{}), at(4, 5, read, found("a", false))}, true},
		"an unknown one that was done":   {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 9, deploy("b"), unknown), at(4, 5, read, found("b", false))}, true},
		"an unknown one that was not":    {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 9, deploy("b"), unknown), at(4, 5, read, found("a", false))}, true},
		"an unknown one taken back":      {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 9, deploy("b"), unknown), at(4, 5, read, found("b", false)), at(6, 7, read, found("a", false))}, false},
		"a release that nobody has made": {[]porcupine.Operation{at(0, 1, read, found("a", false))}, false},
		"a resume without effect":        {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 3, call{service: "web", what: "pause"}, result{}), at(4, 5, call{service: "web", what: "resume"}, result{}), at(6, 7, read, found("a", true))}, false},
		"a removal":                      {[]porcupine.Operation{at(0, 1, deploy("a"), result{}), at(2, 3, call{service: "web", what: "remove"}, result{}), at(4, 5, read, found("", false))}, true},
	} {
		if ok := porcupine.CheckOperations(registers, h.ops); ok != h.ok {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// framing are the fields of an answer that say where it ends, and what becomes of the connection
// (RFC 9110, section 7.6.1). The proxy writes them.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"}

// CheckAnswerField returns an error if a field of an answer must not get a value of somebody
// else's: clients could not read the answer.
func CheckAnswerField(name string) error {
	if slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(f, name) }) {
		return fmt.Errorf("the proxy itself sets the field %s, by what the answer is", name)
	}
	return nil
}

func checkAnswerHeader(v string) error {
	if name, removed := strings.CutPrefix(v, "-"); removed {
		return checkFieldName(name)
	}
	name, value, ok := strings.Cut(v, ":")
	value = strings.TrimSpace(value)
	err := checkFieldName(name)
	switch {
	case !ok || err != nil || strings.HasPrefix(name, "+") || strings.ContainsFunc(value, IsControl):
		return fmt.Errorf("%.64q is not a header field; write it as 'Name: value'", v)
	case value == "":
		return fmt.Errorf("%.64q has no value; to remove the field, write it as '-%.64s'", v, name)
	case isBrace(value):
		return fmt.Errorf("%.64q is nothing but a brace", v)
	case strings.EqualFold(name, "Host"):
		return errors.New("an answer has no field Host")
	}
	return CheckAnswerField(name)
}

// isBrace reports whether a word would be taken for the beginning or the end of a block.
func isBrace(word string) bool { return word == "{" || word == "}" }

func checkFieldName(v string) error {
	if _, _, err := ParseHeaderField(v + ":"); (err != nil || strings.Contains(v, ":")) && !strings.EqualFold(v, "Host") {
		return fmt.Errorf("%.64q is not the name of a header field", v)
	}
	return nil
}

package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestApplyReadsOneServiceOrMany(t *testing.T) {
	for text, want := range map[string]string{
		`{"targets": ["web:1"]}`:                                                  `[{"reset":true,"targets":["web:1"]}]`,
		"targets: [web:1]\nhosts:\n  - a.test\ndrain_timeout: 1m":                 `[{"drain_timeout":"1m","hosts":["a.test"],"reset":true,"targets":["web:1"]}]`,
		"targets: [web:1]\ntls: {redirect: false}":                                `[{"reset":true,"targets":["web:1"],"tls":{"redirect":false}}]`,
		"- targets: [a:1]\n  service: a\n- targets: [b:1]\n  service: b":          `[{"reset":true,"service":"a","targets":["a:1"]},{"reset":true,"service":"b","targets":["b:1"]}]`,
		"---\ntargets: [a:1]\nservice: a\n---\n---\ntargets: [b:1]\nservice: b\n": `[{"reset":true,"service":"a","targets":["a:1"]},{"reset":true,"service":"b","targets":["b:1"]}]`,
	} {
		patches, err := parseServices([]byte(text))
		if got, _ := json.Marshal(patches); err != nil || string(got) != want {
			t.Errorf("%s\nis read as %s, %v\nwant       %s", text, got, err, want)
		}
	}
}

func TestApplySaysWhatIsWrongWithAFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "it contains no service",
		"---\n---\n":                          "it contains no service",
		"targets: [web:1":                     "line 1",
		"web:1":                               "service number 1",
		"target: web:1":                       `service number 1: unknown field "target"`,
		"Targets: [web:1]":                    `service number 1: unknown field "Targets"`,
		"targets: web:1":                      "targets has to be a list, and is a JSON string",
		"targets: [web:1]\nsticky: 1":         "sticky has to be true or false, and is a JSON number",
		"hosts: ['a b']":                      "a b",
		"targets: [a:1]\n---\ntargets: [b:1]": "the service default is described twice",
	} {
		if _, err := parseServices([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

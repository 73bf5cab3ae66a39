package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

// environment returns a getenv for KEY=value pairs.
func environment(pairs ...string) func(string) string {
	return func(key string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, key+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestEverySwitchIsAlsoAVariable(t *testing.T) {
	got, err := parseOptions(nil, environment("ADDR=:1", "NAME=web-1", "VERSION=v7", "LISTEN_DELAY=1s", "BOOT_DELAY=2s",
		"UNHEALTHY_AFTER=3s", "STOP_TIMEOUT=4s", "REFUSE_STOP=true", "CHECK_HOST=app.example"), t.Output())
	want := options{
		addr: ":1", name: "web-1", version: "v7",
		listenDelay: time.Second, bootDelay: 2 * time.Second, unhealthyAfter: 3 * time.Second, stopTimeout: 4 * time.Second,
		refuseStop: true, checkHost: "app.example",
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMoreSpecificAddressWins(t *testing.T) {
	for _, test := range []struct {
		args, env []string
		want      string
	}{
		{nil, nil, ":3000"},
		{nil, []string{"PORT=8080"}, ":8080"},
		{nil, []string{"PORT=8080", "ADDR=[::1]:1"}, "[::1]:1"},
		{[]string{"--addr", "unix//run/app.sock"}, []string{"ADDR=:1"}, "unix//run/app.sock"},
	} {
		got, err := parseOptions(test.args, environment(test.env...), t.Output())
		if err != nil || got.addr != test.want {
			t.Errorf("%v %v: got %q, %v", test.args, test.env, got.addr, err)
		}
	}
}

func TestBadOptionsAreRefusedWithAReason(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  string
		want string
	}{
		{[]string{"--boot-delay", "-1s"}, "", "negative"},
		{[]string{"--boot-delay", "soon"}, "", "boot-delay"},
		{[]string{"--fail-rate", "2"}, "", "--fail-rate"},
		{[]string{"--boot"}, "", "-boot"},
		{[]string{"extra"}, "", `"extra"`},
		{nil, "BOOT_DELAY=soon", "BOOT_DELAY"},
	} {
		var told bytes.Buffer
		if _, err := parseOptions(test.args, environment(test.env), &told); err == nil {
			t.Errorf("%v %s: accepted", test.args, test.env)
		}
		if !strings.Contains(told.String(), test.want) {
			t.Errorf("%v %s: told %q", test.args, test.env, told.String())
		}
	}
}

func TestHelpNamesEverySwitch(t *testing.T) {
	var told bytes.Buffer
	if _, err := parseOptions([]string{"--help"}, environment(), &told); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"-addr", "-boot-delay", "-check-host", "-refuse-stop"} {
		if !strings.Contains(told.String(), name) {
			t.Errorf("%s is missing in %s", name, told.String())
		}
	}
}

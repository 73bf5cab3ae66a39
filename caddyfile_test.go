package parachute

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what configs refer to
)

// grammarCase is what a piece of a Caddyfile means: JSON, or an error that has
// certain words in it.
type grammarCase struct{ text, json, fails string }

func runGrammar(t *testing.T, cases []grammarCase, parse func(*caddyfile.Dispenser) (any, error)) {
	t.Helper()
	for _, tc := range cases {
		value, err := parse(caddyfile.NewTestDispenser(tc.text))
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s\ngot the error %v instead of one with %q", tc.text, err, tc.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s\n%v", tc.text, err)
			continue
		}
		if got, _ := json.Marshal(value); string(got) != tc.json {
			t.Errorf("%s\ngot %s instead of %s", tc.text, got, tc.json)
		}
	}
}

func TestGlobalOptionGrammar(t *testing.T) {
	runGrammar(t, []grammarCase{
		{text: "parachute", json: `{}`},
		{text: "parachute {\n}", json: `{}`},
		{text: "parachute {\n grace_period 5s\n}", json: `{"grace_period":5000000000}`},
		{text: "parachute {\n grace_period 1d\n}", json: `{"grace_period":86400000000000}`},

		{text: "parachute on", fails: "wrong argument count"},
		{text: "parachute {\n grace_period\n}", fails: "wrong argument count"},
		{text: "parachute {\n grace_period 5s 6s\n}", fails: "wrong argument count"},
		{text: "parachute {\n grace_period 5s\n grace_period 6s\n}", fails: "grace_period is given twice"},
		{text: "parachute {\n grace_period 0s\n}", fails: `grace_period "0s" is not a positive duration`},
		{text: "parachute {\n grace_period -5s\n}", fails: `grace_period "-5s" is not a positive duration`},
		{text: "parachute {\n grace_period soon\n}", fails: `grace_period "soon" is not a positive duration`},
		{text: "parachute {\n grace_period 5s {\n }\n}", fails: "unrecognized"},
		{text: "parachute {\n colour red\n}", fails: `unrecognized option "colour"; parachute knows grace_period, public_https_port, allow_handlers, before_switch, buffer_dir, buffer_disk and webhook`},
		{text: "parachute {\n allow_handlers all\n}", json: `{"allow_handlers":"all"}`},
		{text: "parachute {\n allow_handlers some\n}", fails: `unknown allow_handlers "some"; use none, safe or all`},
		{text: "parachute {\n allow_handlers\n}", fails: "wrong argument count"},
		{text: "parachute {\n allow_handlers safe\n allow_handlers safe\n}", fails: "allow_handlers is given twice"},
		{text: "parachute {\n public_https_port 443\n}", json: `{"public_https_port":443}`},
		{text: "parachute {\n webhook https://a.test/hook /secret\n webhook http://b.test /other\n}", json: `{"webhooks":[{"url":"https://a.test/hook","secret_file":"/secret"},{"url":"http://b.test","secret_file":"/other"}]}`},
		{text: "parachute {\n before_switch https://a.test/ask\n}", json: `{"before_switch":"https://a.test/ask"}`},
		{text: "parachute {\n buffer_dir /var/tmp\n buffer_disk 2GiB\n}", json: `{"buffer_dir":"/var/tmp","buffer_disk":2147483648}`},
		{text: "parachute {\n buffer_dir\n}", fails: "wrong argument count"},
		{text: "parachute {\n buffer_dir a\n buffer_dir b\n}", fails: "buffer_dir is given twice"},
		{text: "parachute {\n buffer_disk\n}", fails: "wrong argument count"},
		{text: "parachute {\n buffer_disk much\n}", fails: `buffer_disk "much" is not a size`},
		{text: "parachute {\n buffer_disk 0\n}", fails: "is not a size"},
		{text: "parachute {\n buffer_disk 1GB\n buffer_disk 1GB\n}", fails: "buffer_disk is given twice"},
		{text: "parachute {\n before_switch\n}", fails: "wrong argument count"},
		{text: "parachute {\n before_switch a\n before_switch b\n}", fails: "before_switch is given twice"},
		{text: "parachute {\n webhook https://a.test/hook\n}", fails: "wrong argument count"},
		{text: "parachute {\n public_https_port\n}", fails: "wrong argument count"},
		{text: "parachute {\n public_https_port 1 2\n}", fails: "wrong argument count"},
		{text: "parachute {\n public_https_port 0\n}", fails: `public_https_port "0" is not a port`},
		{text: "parachute {\n public_https_port 65536\n}", fails: "is not a port"},
		{text: "parachute {\n public_https_port 1\n public_https_port 1\n}", fails: "public_https_port is given twice"},
	}, func(d *caddyfile.Dispenser) (any, error) {
		value, err := parseGlobalOption(d, nil)
		if err != nil {
			return nil, err
		}
		app := value.(httpcaddyfile.App)
		if app.Name != "parachute" {
			t.Errorf("the option configures the app %s", app.Name)
		}
		return app.Value, nil
	})
}

func TestGlobalOptionIsGivenOnce(t *testing.T) {
	_, err := adapt("{\n parachute\n parachute {\n grace_period 5s\n }\n}")
	if err == nil || !strings.Contains(err.Error(), "the parachute option is given twice") {
		t.Errorf("got the error %v", err)
	}
}

func TestDirectiveGrammar(t *testing.T) {
	runGrammar(t, []grammarCase{
		{text: "parachute", json: `{}`},
		{text: "parachute {\n}", json: `{}`},
		{text: "parachute app1", json: `{"service":"app1"}`},
		{text: "parachute {\n service app1\n}", json: `{"service":"app1"}`},
		{text: "parachute {\n pass_thru\n}", json: `{"pass_thru":true}`},
		{text: "parachute app1 {\n pass_thru\n}", json: `{"service":"app1","pass_thru":true}`},
		{text: "parachute {\n pass_thru\n service *.example.com\n}", json: `{"service":"*.example.com","pass_thru":true}`},

		{text: "parachute app1 app2", fails: "wrong argument count"},
		{text: "parachute {\n service\n}", fails: "wrong argument count"},
		{text: "parachute {\n service app1 app2\n}", fails: "wrong argument count"},
		{text: "parachute {\n client_timeout 2m\n}", json: `{"client_timeout":120000000000}`},
		{text: "parachute {\n client_timeout\n}", fails: "wrong argument count"},
		{text: "parachute {\n client_timeout 0s\n}", fails: "is not a duration"},
		{text: "parachute {\n client_timeout soon\n}", fails: "is not a duration"},
		{text: "parachute {\n client_timeout 2m\n client_timeout 2m\n}", fails: "given twice"},
		{text: "parachute {\n ping_path /ping\n}", json: `{"ping_path":"/ping"}`},
		{text: "parachute {\n ping_path\n}", fails: "wrong argument count"},
		{text: "parachute {\n ping_path /a\n ping_path /b\n}", fails: "ping_path is given twice"},
		{text: "parachute {\n ping_path ping\n}", fails: "is not a path below the root"},
		{text: "parachute {\n ping_path /\n}", fails: "is not a path below the root"},
		{text: "parachute {\n ping_path /a/../b\n}", fails: "is not a path below the root"},
		{text: "parachute {\n pass_thru on\n}", fails: "wrong argument count"},
		{text: "parachute app1 {\n service app2\n}", fails: "the service is given twice"},
		{text: "parachute {\n service app1\n service app1\n}", fails: "the service is given twice"},
		{text: "parachute {\n pass_thru\n pass_thru\n}", fails: "pass_thru is given twice"},
		{text: "parachute {\n service app1 {\n }\n}", fails: "unrecognized"},
		{text: "parachute {\n pass_thru {\n }\n}", fails: "unrecognized"},
		{text: "parachute {\n colour red\n}", fails: `unrecognized subdirective "colour"; parachute knows service, pass_thru, client_timeout and ping_path`},
	}, func(d *caddyfile.Dispenser) (any, error) {
		var h Handler
		err := h.UnmarshalCaddyfile(d)
		return h, err
	})
}

func TestDynamicSourceGrammar(t *testing.T) {
	runGrammar(t, []grammarCase{
		{text: "parachute app1", json: `{"service":"app1"}`},
		{text: "parachute app1 {\n}", json: `{"service":"app1"}`},

		{text: "parachute", fails: "wrong argument count"},
		{text: "parachute app1 app2", fails: "wrong argument count"},
		{text: "parachute app1 {\n colour red\n}", fails: `unrecognized option "colour"`},
	}, func(d *caddyfile.Dispenser) (any, error) {
		var u Upstreams
		err := u.UnmarshalCaddyfile(d)
		return u, err
	})
}

// A name that no service can have is refused when the config is loaded.
func TestConfigWithAnImpossibleServiceIsRefused(t *testing.T) {
	for _, directive := range []string{"parachute ../x", "reverse_proxy {\n dynamic parachute ../x\n}"} {
		config, err := adapt("http://:8080 {\n" + directive + "\n}")
		if err != nil {
			t.Errorf("%s: %v", directive, err)
			continue
		}
		if err := validateConfig(t, config); err == nil || !strings.Contains(err.Error(), "is not a valid service name") {
			t.Errorf("%s: got the error %v", directive, err)
		}
	}
}

// The directive may stand anywhere in a site without an order of its own, and
// comes where reverse_proxy does: behind what authenticates and rewrites.
func TestDirectiveHasAnOrder(t *testing.T) {
	config, err := adapt(`http://:8080 {
		parachute
		basic_auth {
			bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
		}
		respond "not deployed"
	}`)
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	auth, ours, respond := strings.Index(text, `"authentication"`), strings.Index(text, `"handler":"parachute"`), strings.Index(text, `"static_response"`)
	if auth < 0 || ours < auth {
		t.Errorf("parachute is not behind basic_auth (%d, %d): %s", auth, ours, text)
	}
	if respond < 0 {
		t.Errorf("respond is lost: %s", text)
	}
}

func TestCaddyfileExampleIsFormatted(t *testing.T) {
	example, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if formatted := caddyfile.Format(example); !bytes.Equal(formatted, example) {
		t.Errorf("caddy fmt would write\n%s", formatted)
	}
}

// adapt returns the JSON of a Caddyfile.
func adapt(text string) ([]byte, error) {
	config, _, err := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}.Adapt([]byte(text), nil)
	return config, err
}

// validateConfig provisions a config with a storage of its own, as
// `caddy validate` does.
func validateConfig(t *testing.T, config []byte) error {
	t.Helper()
	var c *caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	if c.StorageRaw == nil {
		storage, err := json.Marshal(map[string]any{"module": "file_system", "root": t.TempDir()})
		if err != nil {
			return err
		}
		c.StorageRaw = storage
	}
	return caddy.Validate(c)
}

func TestCertificateModulesTakeNoArguments(t *testing.T) {
	for name, parse := range map[string]func(*caddyfile.Dispenser) error{
		"get_certificate": new(CertificateGetter).UnmarshalCaddyfile,
		"permission":      new(Permission).UnmarshalCaddyfile,
	} {
		runGrammar(t, []grammarCase{
			{text: "parachute", json: "null"},
			{text: "parachute app1", fails: "wrong argument count"},
			{text: "parachute {\n service app1\n}", fails: "wrong argument count"},
		}, func(d *caddyfile.Dispenser) (any, error) { return nil, parse(d) })
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

package cli

import (
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// The API names settings as its JSON does; whoever types commands knows flags.
func TestMessagesNameFlags(t *testing.T) {
	for want, a := range map[string]api.Advice{
		"add it with --host": api.Advise("add it with %s", api.Field("hosts")),
		"the service: use --service shop --host 'a.test,*.a.test'": api.Advise("the service: use %s %s",
			api.Field("service").Is("shop"), api.Field("hosts").Is("'a.test,*.a.test'")),
		"--tls-wait=false does not wait":           api.Advise("%s does not wait", api.Field("tls.wait").Is("false")),
		"write --tls=internal":                     api.Advise("write %s", api.Field("tls.issuer").Is("internal")),
		"add --tls, or leave --client-ca out":      api.Advise("add %s, or leave %s out", api.Field("tls"), api.Field("client_ca")),
		"to free it, run: parachute remove shop":   api.Advise("to free it, %s", api.Operation("remove shop")),
		"what is not known stays: `a` and `b=c d`": api.Advise("what is not known stays: `a` and `b=c d`"),
	} {
		if got := WithFlags(a.Text); got != want {
			t.Errorf("%q is shown as %q, want %q", a.Text, got, want)
		}
	}
}

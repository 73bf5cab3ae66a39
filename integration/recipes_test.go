package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// kitchen is where a recipe is tried.
type kitchen struct {
	*testing.T
	p   *rig.Proxy
	dir string
	app *app
	// replaced are names in the recipe that are others here.
	replaced *strings.Replacer
}

// follow writes the files of a recipe and runs its commands, as they are written but for names
// and addresses: certificates are those of the proxy's own authority.
func (k *kitchen) follow(r rig.Recipe, commands ...string) {
	k.Helper()
	for name, text := range r.Files {
		must(k.T, os.WriteFile(filepath.Join(k.dir, name), []byte(k.replaced.Replace(text)), 0o600))
	}
	if commands == nil {
		commands = r.Commands
	}
	for _, command := range commands {
		bin, err := rig.ParachuteBinary()
		must(k.T, err)
		shell := "set -e\nparachute() { " + bin + ` "$@"; }` + "\n" + k.replaced.Replace(command)
		cmd := exec.Command("sh", "-c", shell)
		cmd.Dir, cmd.Env = k.dir, append(k.p.Environ(), "PARACHUTE_ADMIN="+k.p.Admin())
		if out, err := cmd.CombinedOutput(); err != nil {
			k.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// ask makes a request by HTTPS.
func (k *kitchen) ask(method, url string, change func(*http.Request)) (*http.Response, string, error) {
	req, err := http.NewRequest(method, url, nil)
	must(k.T, err)
	if change != nil {
		change(req)
	}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			if strings.HasPrefix(url, "http:") {
				return d.DialContext(ctx, "tcp", k.p.Addr())
			}
			return d.DialContext(ctx, "tcp", k.p.HTTPSAddr())
		},
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// want fails the test unless a GET has an answer with a status and fields.
func (k *kitchen) want(status int, url string, change func(*http.Request), fields ...string) string {
	k.Helper()
	return k.wantOf(http.MethodGet, status, url, change, fields...)
}

func (k *kitchen) wantOf(method string, status int, url string, change func(*http.Request), fields ...string) string {
	k.Helper()
	resp, body, err := k.ask(method, url, change)
	if err != nil || resp.StatusCode != status {
		k.Fatalf("%s %s: %v (%v), want %d: %.200s", method, url, resp, err, status, body)
	}
	for i := 0; i < len(fields); i += 2 {
		if got := strings.Join(resp.Header.Values(fields[i]), "|"); got != fields[i+1] {
			k.Errorf("%s %s: %s is %q, want %q", method, url, fields[i], got, fields[i+1])
		}
	}
	return body
}

func basicAuth(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

// from makes a request come from another address: the proxy trusts us.
func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) }
}

// TestRecipes executes each of docs/HANDLERS.md, but for the one that needs a plugin, which
// integration/plugins executes.
func TestRecipes(t *testing.T) {
	recipes, err := rig.ReadRecipes("../docs/HANDLERS.md")
	must(t, err)
	if len(recipes) != 10 {
		t.Fatalf("there are %d recipes", len(recipes))
	}
	authelia := startApp(t, "authelia", func(w http.ResponseWriter, r *http.Request) {
		// As Authelia does: https://www.authelia.com/reference/guides/proxy-authorization/
		if c, err := r.Cookie("authelia_session"); err != nil || c.Value != "ada" {
			http.Redirect(w, r, "https://auth.example.com/?rd="+r.Header.Get("X-Forwarded-Proto")+"://"+r.Header.Get("X-Forwarded-Host")+r.Header.Get("X-Forwarded-Uri"), http.StatusFound)
			return
		}
		w.Header().Set("Remote-User", "ada")
		w.Header().Set("Remote-Groups", "admins,dev")
	})
	p := startProxy(t, "--trusted-proxies", "127.0.0.0/8")
	for number, cook := range map[int]func(k *kitchen, r rig.Recipe){
		1: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			accepts := func(r *http.Request) { r.Header.Set("Accept-Encoding", "zstd, gzip") }
			k.want(200, "http://app1.example.com/assets/a.css", accepts, "Cache-Control", "public, max-age=31536000, immutable", "Content-Encoding", "zstd")
			k.want(200, "http://app1.example.com/", accepts, "Cache-Control", "app's own", "Content-Encoding", "zstd")
			k.want(200, "http://app1.example.com/", nil, "Content-Encoding", "")
		},
		2: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			k.want(200, "https://app1.example.com/", nil, "Strict-Transport-Security", "max-age=31536000", "Content-Security-Policy", "default-src https:",
				"X-Content-Type-Options", "nosniff", "X-Frame-Options", "DENY", "Referrer-Policy", "strict-origin-when-cross-origin",
				"Permissions-Policy", "camera=(), microphone=()", "Server", "")
			k.want(301, "http://app1.example.com/", nil, "Strict-Transport-Security", "")
		},
		3: func(k *kitchen, r rig.Recipe) {
			k.follow(r, r.Commands[0])
			if body := k.want(200, "https://staging.example.com/", basicAuth("bob", "hiccup")); !strings.Contains(body, "authorization=1") {
				k.Errorf("the application does not get the password: %.200s", body)
			}
			k.follow(r, r.Commands[1])
			if body := k.want(200, "https://staging.example.com/", basicAuth("bob", "hiccup")); !strings.Contains(body, "authorization=0") {
				k.Errorf("the application gets the password: %.200s", body)
			}
			k.follow(rig.Recipe{}, "parachute deploy web-2:3000 --host app1.example.com --tls")
			k.want(401, "https://staging.example.com/", nil, "Www-Authenticate", `Basic realm="restricted"`, "X-Robots-Tag", "noindex")
			k.want(401, "https://staging.example.com/", basicAuth("ada", "hiccup"))
			k.want(200, "https://staging.example.com/", basicAuth("ada", "correct horse"), "X-Robots-Tag", "noindex")
			k.want(200, "https://staging.example.com/", basicAuth("bob", "hiccup"))
			k.want(200, "https://app1.example.com/", nil, "X-Robots-Tag", "")
			k.want(301, "http://staging.example.com/", nil, "Www-Authenticate", "")
		},
		4: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			for _, path := range []string{"/admin", "/admin/x", "/ADMIN/x", "/%61dmin", "//admin/x"} {
				k.want(401, "https://app1.example.com"+path, nil)
			}
			k.want(200, "https://app1.example.com/admin", basicAuth("bob", "hiccup"))
			k.want(200, "https://app1.example.com/admin/up", nil)
			k.want(200, "https://app1.example.com/", nil)
		},
		5: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			if resp, _, err := k.ask("GET", "https://app1.example.com/", from("173.245.48.5")); err == nil {
				k.Errorf("who does not come by Cloudflare gets %s", resp.Status)
			}
			k.replaced = strings.NewReplacer("web-2:3000", k.app.addr(), "--tls", "--tls=internal", "173.245.48.0/20", "127.0.0.0/8")
			k.follow(r)
			k.want(200, "https://app1.example.com/", from("203.0.113.9"))
		},
		6: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			spoof := func(r *http.Request) {
				r.Header.Set("Remote-User", "root")
				r.Header.Set("Remote_User", "root")
				r.Header.Set("Remote-Email", "root@example.com")
			}
			k.want(302, "https://app1.example.com/page?a=b", spoof, "Location", "https://auth.example.com/?rd=https://app1.example.com/page?a=b")
			body := k.want(200, "https://app1.example.com/page", func(r *http.Request) {
				spoof(r)
				r.AddCookie(&http.Cookie{Name: "authelia_session", Value: "ada"})
			})
			if !strings.HasPrefix(body, "GET /page user=[ada] groups=[admins,dev] email=[]") {
				k.Errorf("the application gets %.200q", body)
			}
		},
		7: func(k *kitchen, r rig.Recipe) {
			k.follow(r, r.Commands[0])
			if body := k.want(503, "https://app1.example.com/", from("203.0.113.9"), "Retry-After", "3600"); body != "Back at noon." {
				k.Errorf("visitors see %q", body)
			}
			k.want(200, "https://app1.example.com/", from("198.51.100.7"), "Retry-After", "")
			k.follow(r, r.Commands[1])
			k.want(200, "https://app1.example.com/", from("203.0.113.9"))
		},
		8: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			k.want(200, "https://blog.example.com/", nil, "Strict-Transport-Security", "max-age=31536000")
			k.want(404, "https://blog.example.com/.git/config", nil)
			k.want(404, "https://blog.example.com/a/.env", nil)
			k.want(403, "https://blog.example.com/xmlrpc.php", nil)
			k.wantOf("POST", 200, "https://blog.example.com/wp-admin/upload.php", nil)
			k.wantOf("POST", 413, "https://blog.example.com/wp-admin/upload.php", func(r *http.Request) {
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 65<<20))), 65<<20
			})
		},
		9: func(k *kitchen, r rig.Recipe) {
			k.follow(r)
			ours := func(r *http.Request) { r.Header.Set("Origin", "https://app.example.com") }
			k.want(200, "https://api.example.com/", ours, "Access-Control-Allow-Origin", "https://app.example.com", "Access-Control-Allow-Credentials", "true", "Vary", "Origin")
			k.want(200, "https://api.example.com/", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, "Access-Control-Allow-Origin", "", "Vary", "Origin")
			asks := func(r *http.Request) {
				ours(r)
				r.Header.Set("Access-Control-Request-Method", "PUT")
			}
			k.wantOf("OPTIONS", 204, "https://api.example.com/", asks, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE", "Access-Control-Allow-Origin", "https://app.example.com")
			k.wantOf("OPTIONS", 200, "https://api.example.com/", ours) // of the application
		},
	} {
		r := recipes[number-1]
		t.Run(fmt.Sprint(number)+" "+strings.ReplaceAll(r.Title, " ", "_"), func(t *testing.T) {
			if len(r.Commands) == 0 {
				t.Fatal("there is no command")
			}
			k := &kitchen{T: t, p: p, dir: t.TempDir()}
			k.app = startApp(t, "app", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Host == "blog.example.com" && r.Header.Get("X-Forwarded-Proto") != "https" && r.URL.Path != "/wp-login.php" {
					http.Redirect(w, r, "https://"+r.Host+r.RequestURI, http.StatusMovedPermanently) // as WordPress does
					return
				}
				h := w.Header()
				h.Set("Content-Type", "text/css")
				h.Set("Server", "app")
				h.Set("X-Frame-Options", "app's own")
				h.Set("Cache-Control", "app's own")
				fmt.Fprintf(w, "%s %s user=%v groups=%v email=%v authorization=%d %s", r.Method, r.URL.Path, append(r.Header["Remote-User"], r.Header["Remote_user"]...),
					r.Header["Remote-Groups"], r.Header["Remote-Email"], len(r.Header["Authorization"]), strings.Repeat("compress me ", 100))
			})
			k.replaced = strings.NewReplacer("web-2:3000", k.app.addr(), "staging-2:3000", k.app.addr(), "api-2:8080", k.app.addr(), "wordpress:80", k.app.addr(),
				"authelia:9091", authelia.addr(), "--tls", "--tls=internal")
			cook(k, r)
			for _, s := range services(t, p) {
				must(t, p.Remove(t.Context(), s.Name))
			}
		})
	}
}

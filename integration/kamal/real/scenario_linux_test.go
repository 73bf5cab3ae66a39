package real

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// appConfig has two roles behind the proxy, one that is not, and an accessory behind the proxy.
const appConfig = `
drain_timeout: 5
servers:
  web:
    hosts: [127.0.0.1]
  api:
    hosts: [127.0.0.1]
    proxy: {host: api.test}
  workers:
    hosts: [127.0.0.1]
    cmd: -name=worker
proxy:
  run: *run
  host: app.test
  app_port: 3000
  healthcheck: {interval: 1, timeout: 1, path: /up}
accessories:
  side:
    service: side
    image: 127.0.0.1:5000/side:v1
    host: 127.0.0.1
    cmd: -name=side
    proxy: {host: side.test, app_port: 3000, healthcheck: {interval: 1, timeout: 1, path: /up}}
`

// shopFormat has the options of the proxy that an application may have. It takes the hosts,
// and more options.
const shopFormat = `
drain_timeout: 5
servers: [127.0.0.1]
proxy:
  run: *run
  hosts: [%s]
  app_port: 3000
  response_timeout: 20
  forward_headers: true
  buffering: {requests: false, responses: false, memory: 400_000, max_request_body: 40_000_000, max_response_body: 40_000_000}
  logging: {request_headers: [Cache-Control], response_headers: [X-Version]}
  healthcheck: {interval: 1, timeout: 1, path: /up}
%s
`

var shopConfig = fmt.Sprintf(shopFormat, "shop.test", "")

// scenario is the life of two applications. Its steps build on one another.
type scenario struct {
	*asserter
	m         *machine
	app, shop *project
}

// docker returns what a command of Docker prints, and what it prints when it fails.
func (s *scenario) docker(args ...string) string {
	out, _ := exec.Command("docker", args...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// running returns the names of the running containers of a role.
func (s *scenario) running(service, role string) string {
	return s.docker("ps", "--filter", "label=service="+service, "--filter", "label=role="+role, "--format", "{{.Names}}")
}

func (s *scenario) proxyLog() string { return s.docker("logs", "kamal-proxy") }

func (s *scenario) setup() {
	s.begin("setup")
	s.succeeds(s.app.kamal("v1", "setup", "--skip-push"))
	s.serves("app.test", "v1")
	s.serves("api.test", "v1")
	side := get("side.test", "/")
	s.that(side.status == 200 && side.instance == "side", "the accessory answers for side.test", side)
	s.status("other.test", 404)
	s.that(get("app.test", "/").instance != get("api.test", "/").instance, "the roles are different containers", "the same instance")
	s.contains(s.running("app", "workers"), "app-workers-v1", "the role without proxy runs")
	inspect := func(format string) string { return s.docker("inspect", "--format", format, "kamal-proxy") }
	s.that(inspect("{{.Config.Image}}") == proxyImage, "the proxy is the image that deploy.yml names", inspect("{{.Config.Image}}"))
	s.that(inspect("{{json .Config.Cmd}}") == `["kamal-proxy","run","--metrics-port","9090"]`, "the proxy has the command of Kamal", inspect("{{json .Config.Cmd}}"))
	s.that(inspect(`{{index .Config.Labels "test.option"}}`) == "given", "the proxy has the options of deploy.yml", inspect("{{json .Config.Labels}}"))
	s.contains(inspect("{{json .Config.Env}}"), "PARACHUTE_ACME_EMAIL=you@example.com", "the proxy has the environment of deploy.yml")
	s.contains(inspect("{{json .Mounts}}"), `"Name":"kamal-proxy-config"`, "the proxy has the volume")
	s.contains(s.proxyLog(), "No previous state to restore", "the proxy's log says that there was no state")
	list := s.docker("exec", "kamal-proxy", "kamal-proxy", "list")
	for _, service := range []string{"app-web", "app-api", "side"} {
		s.contains(list, service, "kamal-proxy list has "+service)
	}
	s.contains(s.docker("exec", "kamal-proxy", "parachute", "status"), "app-web", "parachute status works in the container")
}

// underLoad runs a command of Kamal on the application while its hosts are asked.
func (s *scenario) underLoad(version string, args ...string) (result, *load, *load) {
	web, api := startLoad("app.test"), startLoad("api.test")
	r := s.app.kamal(version, args...)
	// Some requests go to what serves now.
	time.Sleep(500 * time.Millisecond)
	return r, web, api
}

func (s *scenario) deploy() {
	s.begin("deploy")
	r, web, api := s.underLoad("v2", "deploy", "--skip-push")
	s.succeeds(r)
	s.losesNothing(web, "v1", "v2")
	s.losesNothing(api, "v1", "v2")
	s.serves("app.test", "v2")
	s.serves("api.test", "v2")
	for _, role := range []string{"web", "api", "workers"} {
		s.that(s.running("app", role) == "app-"+role+"-v2", "of the role "+role+" only v2 runs", s.running("app", role))
	}
}

func (s *scenario) redeploy() {
	s.begin("redeploy of the same version")
	before := s.docker("inspect", "--format", "{{.Id}}", "app-web-v2")
	r, web, api := s.underLoad("v2", "redeploy", "--skip-push")
	s.succeeds(r)
	s.losesNothing(web, "v2")
	s.losesNothing(api, "v2")
	s.serves("app.test", "v2")
	s.that(s.docker("inspect", "--format", "{{.Id}}", "app-web-v2") != before, "it is another container", before)
	s.that(s.running("app", "web") == "app-web-v2", "only the new container runs", s.running("app", "web"))
}

func (s *scenario) rollback() {
	s.begin("rollback")
	s.succeeds(s.app.kamal("v3", "deploy", "--skip-push"))
	s.serves("app.test", "v3")
	r, web, api := s.underLoad("v3", "rollback", "v2")
	s.succeeds(r)
	s.losesNothing(web, "v2", "v3")
	s.losesNothing(api, "v2", "v3")
	s.serves("app.test", "v2")
	s.serves("api.test", "v2")
	s.that(s.running("app", "web") == "app-web-v2", "only v2 runs", s.running("app", "web"))
}

func (s *scenario) failingDeploys() {
	for version, why := range map[string]string{"ill": "503", "deaf": "connection refused"} {
		s.begin("failing deploy (" + version + ")")
		r, web, api := s.underLoad(version, "deploy", "--skip-push")
		s.that(r.code == 1, "Kamal ends with 1", r)
		s.contains(r.output, "target failed to become healthy within configured timeout (6s)", "Kamal shows the message of kamal-proxy")
		s.contains(r.output, why, "Kamal shows what the target has answered: "+why)
		fmt.Println("      the message: " + lineWith(r.output, "target failed"))
		s.losesNothing(web, "v2")
		s.losesNothing(api, "v2")
		s.serves("app.test", "v2")
		s.that(s.running("app", "web") == "app-web-v2", "the old container runs, and the new one does not", s.running("app", "web"))
		s.contains(s.app.kamal(version, "lock", "status").output, "no deploy lock", "the lock is released")
	}
	s.begin("deploy after failures")
	s.succeeds(s.app.kamal("v3", "deploy", "--skip-push"))
	s.serves("app.test", "v3")
}

// lineWith returns the line that has a text in it.
func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (s *scenario) maintenance() {
	s.begin("error pages")
	s.app.write("error_pages/503.html", "<h1>We are back soon</h1><p>{{ .Message }}</p>")
	// Not from the beginning: Kamal boots accessories before it uploads the pages that it
	// names to the proxy for them, too.
	s.app.configure(appConfig + "error_pages_path: error_pages\n")
	s.succeeds(s.app.kamal("v3", "redeploy", "--skip-push"))
	s.serves("app.test", "v3")

	s.begin("maintenance")
	s.succeeds(s.app.kamal("v3", "app", "maintenance", "--message", "Until <ten>", "--drain-timeout", "2"))
	for _, host := range []string{"app.test", "api.test"} {
		a := request("http://"+host+"/", "Accept", "text/html")
		s.that(a.status == 503, host+" answers with 503", a)
		s.contains(a.body, "<h1>We are back soon</h1>", host+" shows the application's page")
		s.contains(a.body, "Until &lt;ten&gt;", "the page has the message, escaped")
	}
	up := get("app.test", "/up")
	s.that(up.status == 200, "the health path answers with 200, for load balancers", up)
	s.that(get("side.test", "/").status == 200, "the accessory is served", "")
	s.succeeds(s.app.kamal("v2", "redeploy", "--skip-push"))
	s.status("app.test", 503)
	s.succeeds(s.app.kamal("v2", "proxy", "reboot", "-y"))
	s.eventually("app.test", 503, "after the reboot of the proxy")
	a := request("http://app.test/", "Accept", "text/html")
	s.contains(a.body, "Until &lt;ten&gt;", "the message has survived deploy and reboot")
	s.succeeds(s.app.kamal("v2", "app", "maintenance"))
	a = request("http://app.test/", "Accept", "text/html")
	s.that(a.status == 503 && !strings.Contains(a.body, "Until"), "another maintenance replaces the message", a)

	s.begin("live")
	s.succeeds(s.app.kamal("v2", "app", "live"))
	s.serves("app.test", "v2")
	s.serves("api.test", "v2")
	s.succeeds(s.app.kamal("v2", "app", "live"))
	s.serves("app.test", "v2")
	s.app.configure(appConfig)
}

// eventually asserts the status of a host whose proxy starts.
func (s *scenario) eventually(host string, status int, when string) {
	var got answer
	deadline := time.Now().Add(rigtest.Patience)
	for got = get(host, "/"); got.status != status && time.Now().Before(deadline); got = get(host, "/") {
		time.Sleep(50 * time.Millisecond)
	}
	s.that(got.status == status, fmt.Sprintf("%s answers with %d %s", host, status, when), got)
}

func (s *scenario) information() {
	s.begin("information")
	show := func(part string, args ...string) {
		r := s.app.kamal("v2", args...)
		s.that(r.code == 0 && strings.Contains(r.output, part), fmt.Sprintf("kamal %s has %q", strings.Join(args, " "), part), r)
	}
	show("app-web-v2", "app", "details")
	show("v2", "app", "version")
	show("app-web-v3", "app", "containers")
	show("127.0.0.1:5000/app", "app", "images")
	// The sample application is silent, so only that the command works is known.
	show("App Host: 127.0.0.1", "app", "logs")
	show(proxyImage, "proxy", "details")
	show("Restored saved state", "proxy", "logs", "--lines", "10000")
	show(proxyImage, "details")
	show("side", "accessory", "details", "side")
	show("Rebooted proxy", "audit")
	get("app.test", "/wanted", "X-Request-ID", "id-of-one-request")
	r := s.app.kamal("v2", "proxy", "logs", "--grep", "id-of-one-request")
	s.contains(r.output, `"path":"/wanted"`, "kamal proxy logs --grep finds a request by its id")
	s.contains(r.output, `"service":"app-web"`, "the line names the service")
	s.contains(r.output, `"req_user_agent"`, "the line has the headers that Kamal has logged by default")
	ip := s.docker("inspect", "--format", "{{.NetworkSettings.Networks.kamal.IPAddress}}", "kamal-proxy")
	out, _ := exec.Command("docker", "run", "--rm", "--network", "kamal", "--entrypoint", "bash", proxyImage, "-c",
		"exec 3<>/dev/tcp/"+ip+`/9090; printf 'GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n' >&3; cat <&3`).CombinedOutput()
	s.contains(string(out), "parachute_", "the port of the metrics answers in the network of the containers")
}

func (s *scenario) stopAndStart() {
	s.begin("app stop")
	s.succeeds(s.app.kamal("v2", "app", "stop"))
	s.status("app.test", 404)
	s.status("api.test", 404)
	s.that(get("side.test", "/").status == 200, "the accessory is served", "")
	s.begin("app start")
	s.succeeds(s.app.kamal("v2", "app", "start"))
	s.serves("app.test", "v2")
	s.serves("api.test", "v2")
	s.begin("app boot")
	s.succeeds(s.app.kamal("v3", "app", "boot", "--version", "v3"))
	s.serves("app.test", "v3")
}

func (s *scenario) secondApp() {
	s.begin("second app")
	l := startLoad("app.test")
	s.succeeds(s.shop.kamal("v1", "setup", "--skip-push"))
	s.losesNothing(l, "v3")
	s.serves("shop.test", "v1")
	s.serves("app.test", "v3")
	forwarded := get("shop.test", "/echo", "X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https")
	s.contains(forwarded.body, "192.0.2.7", "forward_headers passes the client's address on")
	s.contains(forwarded.body, `"https"`, "forward_headers passes the protocol on")
	s.succeeds(s.shop.kamal("v2", "deploy", "--skip-push"))
	s.serves("shop.test", "v2")
	s.serves("app.test", "v3")

	s.begin("host of another app")
	s.shop.configure(fmt.Sprintf(shopFormat, "shop.test, app.test", ""))
	r := s.shop.kamal("v3", "deploy", "--skip-push")
	s.that(r.code == 1, "Kamal ends with 1", r)
	s.contains(r.output, "host settings conflict with another service", "Kamal shows the message of kamal-proxy")
	fmt.Println("      the message: " + lineWith(r.output, "host settings conflict"))
	s.serves("shop.test", "v2")
	s.serves("app.test", "v3")
}

func (s *scenario) pathPrefix() {
	s.begin("path prefix")
	s.shop.configure(fmt.Sprintf(shopFormat, "app.test", "  path_prefix: /shop"))
	s.succeeds(s.shop.kamal("v3", "deploy", "--skip-push"))
	s.serves("app.test", "v3")
	a := get("app.test", "/shop/echo/x")
	s.contains(a.body, `"/echo/x"`, "the prefix is stripped")
	s.that(get("app.test", "/shopping").body != "" && get("app.test", "/shopping").instance != a.instance, "a path that only begins alike is the other app's", a)
	s.shop.configure(fmt.Sprintf(shopFormat, "app.test", "  path_prefix: /echo\n  strip_path_prefix: false"))
	s.succeeds(s.shop.kamal("v3", "redeploy", "--skip-push"))
	s.contains(get("app.test", "/echo/x").body, `"/echo/x"`, "with strip_path_prefix: false it is not")
	s.status("shop.test", 404)
	s.shop.configure(shopConfig)
	s.succeeds(s.shop.kamal("v2", "deploy", "--skip-push"))
	s.serves("shop.test", "v2")
}

// certificate writes a new certificate for the second application, and returns what shows it.
func (s *scenario) certificate() *selfsigned.Certificate {
	c, err := selfsigned.New("shop.test")
	rigtest.Must(s.t, err)
	s.shop.write("certificate.pem", string(c.PEM))
	s.shop.write("key.pem", string(c.Key))
	return c
}

// showsCertificate asserts which certificate shop.test has.
func (s *scenario) showsCertificate(c *selfsigned.Certificate, version string) {
	pair, err := c.TLS()
	rigtest.Must(s.t, err)
	a := request("https://shop.test/")
	s.that(a.status == 200 && a.version == version, "https://shop.test answers with 200 and version "+version, a)
	s.that(a.serial == pair.Leaf.SerialNumber.String(), "the certificate is that of deploy.yml", a)
}

func (s *scenario) certificates() {
	s.begin("custom certificate")
	s.shop.configure(fmt.Sprintf(shopFormat, "shop.test", "  ssl: {certificate_pem: CERTIFICATE, private_key_pem: PRIVATE_KEY}"))
	first := s.certificate()
	s.succeeds(s.shop.kamal("v3", "deploy", "--skip-push"))
	s.showsCertificate(first, "v3")
	a := get("shop.test", "/x?y")
	s.that(a.status == 301 && a.location == "https://shop.test/x?y", "HTTP is redirected to HTTPS", a)
	s.serves("app.test", "v3")

	s.begin("renewed certificate")
	second := s.certificate()
	s.succeeds(s.shop.kamal("v2", "deploy", "--skip-push"))
	s.showsCertificate(second, "v2")

	s.begin("certificate that is none")
	s.shop.write("certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	r := s.shop.kamal("v3", "deploy", "--skip-push")
	s.that(r.code == 1, "Kamal ends with 1", r)
	s.contains(r.output, "unable to load certificate", "Kamal shows the message of kamal-proxy")
	fmt.Println("      the message: " + lineWith(r.output, "unable to load certificate"))
	s.showsCertificate(second, "v2")
	s.shop.write("certificate.pem", string(second.PEM))
	s.shop.write("key.pem", string(second.Key))
	s.succeeds(s.shop.kamal("v2", "redeploy", "--skip-push"))
	s.showsCertificate(second, "v2")
}

func (s *scenario) rebootProxy() {
	s.begin("proxy reboot")
	before := s.docker("inspect", "--format", "{{.Id}}", "kamal-proxy")
	pairBefore := request("https://shop.test/").serial
	s.succeeds(s.app.kamal("v3", "proxy", "reboot", "-y"))
	s.eventually("app.test", 200, "after the reboot")
	s.that(s.docker("inspect", "--format", "{{.Id}}", "kamal-proxy") != before, "the proxy is another container", before)
	s.serves("app.test", "v3")
	s.serves("api.test", "v3")
	s.status("side.test", 200)
	after := request("https://shop.test/")
	s.that(after.status == 200 && after.version == "v2", "https://shop.test answers with 200 and version v2", after)
	s.that(after.serial == pairBefore, "the certificate is the same", after)
	s.contains(s.proxyLog(), "Restored saved state", "the proxy's log says that it has its state")
	s.that(s.docker("inspect", "--format", "{{.Config.Image}}", "kamal-proxy") == proxyImage, "it is the image that deploy.yml names", "")
	s.that(s.docker("inspect", "--format", `{{index .Config.Labels "test.option"}}`, "kamal-proxy") == "given", "it has the options of deploy.yml", "")
}

func (s *scenario) stopProxy() {
	s.begin("proxy stop")
	r := s.app.kamal("v3", "proxy", "stop")
	s.succeeds(r)
	code := s.docker("inspect", "--format", "{{.State.ExitCode}}", "kamal-proxy")
	s.that(code == "0", "the proxy has ended by itself", code)
	a := get("app.test", "/")
	s.that(a.status == 0, "nobody answers", a)
	s.begin("proxy start")
	s.succeeds(s.app.kamal("v3", "proxy", "start"))
	s.eventually("app.test", 200, "after the start")
	s.serves("app.test", "v3")
	s.begin("proxy restart")
	s.succeeds(s.app.kamal("v3", "proxy", "restart"))
	s.eventually("app.test", 200, "after the restart")
	s.serves("app.test", "v3")
	s.begin("proxy boot")
	s.succeeds(s.app.kamal("v3", "proxy", "boot"))
	s.serves("app.test", "v3")
	s.begin("deploy boots a stopped proxy")
	s.succeeds(s.app.kamal("v3", "proxy", "stop"))
	s.succeeds(s.app.kamal("v2", "deploy", "--skip-push"))
	s.serves("app.test", "v2")
}

// slowRequests is what parachute's own exit codes made an outage of, before it had those of
// kamal-proxy: Kamal takes a deploy that had to cut requests for one that has failed.
func (s *scenario) slowRequests() {
	s.begin("drain_timeout: 1 with slow requests")
	s.app.configure(strings.Replace(appConfig, "drain_timeout: 5", "drain_timeout: 1", 1))
	var clients sync.WaitGroup
	answers := make(chan answer, 4)
	for range cap(answers) {
		clients.Go(func() { answers <- get("app.test", "/slow?d=35s") })
	}
	time.Sleep(500 * time.Millisecond)
	r := s.app.kamal("v3", "redeploy", "--skip-push")
	s.succeeds(r)
	fmt.Println("      the message: " + lineWith(r.output, "WARN"))
	for n := range 3 {
		a := get("app.test", "/")
		s.that(a.status == 200 && a.version == "v3", fmt.Sprintf("request %d is answered by the new release", n+1), a)
	}
	s.that(s.running("app", "web") == "app-web-v3", "the new release runs, and the old one does not", s.running("app", "web"))
	clients.Wait()
	close(answers)
	for a := range answers {
		s.that(a.status == 504, "a slow request is cut, with 504", a)
	}
	s.app.configure(appConfig)
}

func (s *scenario) accessory() {
	s.begin("accessory behind the proxy")
	s.succeeds(s.app.kamal("v3", "accessory", "stop", "side"))
	s.status("side.test", 404)
	s.succeeds(s.app.kamal("v3", "accessory", "start", "side"))
	s.status("side.test", 200)
	s.succeeds(s.app.kamal("v3", "accessory", "restart", "side"))
	s.status("side.test", 200)
	s.succeeds(s.app.kamal("v3", "accessory", "reboot", "side"))
	s.status("side.test", 200)
	s.succeeds(s.app.kamal("v3", "accessory", "remove", "side", "-y"))
	s.status("side.test", 404)
	s.serves("app.test", "v3")
	s.succeeds(s.app.kamal("v3", "accessory", "boot", "side"))
	s.status("side.test", 200)
}

func (s *scenario) removeSecondApp() {
	s.begin("remove with another app on the proxy")
	r := s.shop.kamal("v2", "remove", "-y")
	s.succeeds(r)
	s.contains(r.output, "Not removing the proxy", "Kamal leaves the proxy to the other app")
	a := get("shop.test", "/")
	s.that(a.status == 404, "shop.test answers with 404", a)
	s.that(s.docker("ps", "-aq", "--filter", "label=service=shop") == "", "no container of the app is left", "")
	s.that(!strings.Contains(s.docker("exec", "kamal-proxy", "kamal-proxy", "list"), "shop"), "kamal-proxy list does not have it", "")
	s.serves("app.test", "v3")
}

func (s *scenario) removeAll() {
	s.begin("remove")
	// Kamal removes the proxy before it asks it to remove an accessory that deploy.yml names, which fails
	// whatever proxy it is.
	s.succeeds(s.app.kamal("v3", "accessory", "remove", "side", "-y"))
	alone, _, _ := strings.Cut(appConfig, "accessories:\n")
	s.app.configure(alone)
	// Kamal removes the containers of all roles at a time, and Docker refuses that if the
	// roles are on one host.
	r := s.app.kamal("v3", "remove", "-y")
	for tries := 1; tries < 5 && strings.Contains(r.output, "a prune operation is already running"); tries++ {
		r = s.app.kamal("v3", "remove", "-y")
	}
	s.succeeds(r)
	s.that(s.docker("ps", "-aq") == "", "no container is left, neither of the app nor of the proxy", s.docker("ps", "-a"))
	images := s.docker("images", "-q", "--filter", "label=org.opencontainers.image.title=kamal-proxy")
	s.that(images == "", "no image of the proxy is left", images)
	out, _ := exec.Command("find", s.m.path("home/.kamal"), "-path", "*proxy*").CombinedOutput()
	s.that(!strings.Contains(string(out), "apps-config"), "no directory of the proxy is left", string(out))
	a := get("app.test", "/")
	s.that(a.status == 0, "nobody answers", a)
}

func (s *scenario) setupAgain() {
	s.begin("setup after remove")
	s.succeeds(s.app.kamal("v1", "setup", "--skip-push"))
	s.serves("app.test", "v1")
	s.serves("api.test", "v1")
	s.status("shop.test", 404)
}

package real

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// sourcesVariable names the folder of Kamal's public sources and gems.
const sourcesVariable = "PARACHUTE_KAMAL_SOURCES"

// rubyLibs returns the folders that Ruby looks for Kamal and its gems in.
func rubyLibs(sources string) (libs []string, kamal string, err error) {
	for _, pattern := range []string{"*/lib", "gems/*/lib", "*/lib/concurrent-ruby", "gems/*/lib/concurrent-ruby"} {
		found, err := filepath.Glob(filepath.Join(sources, pattern))
		if err != nil {
			return nil, "", err
		}
		libs = append(libs, found...)
	}
	for _, lib := range libs {
		program := filepath.Join(filepath.Dir(lib), "bin", "kamal")
		if _, err := os.Stat(program); err == nil {
			kamal = program
		}
	}
	if kamal == "" {
		return nil, "", fmt.Errorf("no bin/kamal beside any lib in %s", sources)
	}
	return libs, kamal, nil
}

// project is a directory with a config/deploy.yml, from which Kamal is called.
type project struct {
	t       testing.TB
	m       *machine
	service string
}

// newProject makes the directory. deploy is what its deploy.yml has beside the machine.
func newProject(m *machine, service, deploy string) *project {
	p := &project{t: m.t, m: m, service: service}
	p.configure(deploy)
	p.write(".kamal/secrets", "PASSWORD=none\nCERTIFICATE=$(cat certificate.pem)\nPRIVATE_KEY=$(cat key.pem)\n")
	p.write("certificate.pem", "")
	p.write("key.pem", "")
	return p
}

func (p *project) write(name, content string) { p.m.write(filepath.Join(p.service, name), content) }

// configure replaces deploy.yml.
func (p *project) configure(deploy string) {
	p.write("config/deploy.yml", fmt.Sprintf(`
service: %[1]s
image: %[1]s
registry: {server: "%[2]s", username: somebody, password: [PASSWORD]}
builder: {arch: amd64}
ssh: {user: %[3]s, port: %[4]d, keys: ["%[5]s"], keys_only: true}
readiness_delay: 0
deploy_timeout: 6
x-run: &run
  registry: "%[2]s"
  repository: parachute-kamal
  version: %[6]s
  metrics_port: 9090
  options: {label: test.option=given, env: PARACHUTE_ACME_EMAIL=you@example.com}
%[7]s`, p.service, registry, userName, sshPort, p.m.path("key"), proxyVersion, deploy))
}

// result is what a command of Kamal has come to.
type result struct {
	output string
	code   int
	took   time.Duration
}

// kamal runs Kamal for a version of the application.
func (p *project) kamal(version string, args ...string) result {
	p.t.Helper()
	libs, program, err := rubyLibs(os.Getenv(sourcesVariable))
	rigtest.Must(p.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ruby", append([]string{program}, args...)...)
	cmd.Dir = p.m.path(p.service)
	cmd.Env = append(os.Environ(), "RUBYLIB="+strings.Join(libs, ":"), "VERSION="+version, "HOME="+p.m.path("operator"), "LANG=C.UTF-8")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	r := result{output: string(out), code: cmd.ProcessState.ExitCode(), took: time.Since(began)}
	p.m.write(fmt.Sprintf("kamal-%d.log", began.UnixNano()), strings.Join(args, " ")+"\n"+r.output)
	return r
}

package real

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

const (
	registry     = "127.0.0.1:5000"
	sshPort      = 2222
	proxyVersion = "v1.0.0"
	proxyImage   = registry + "/parachute-kamal:" + proxyVersion
)

// machine is what Kamal deploys to: an SSH server, a Docker Engine and a registry, all on
// the loopback of the namespace.
type machine struct {
	t      testing.TB
	folder string
}

// startMachine starts the servers. They end with the namespaces.
func startMachine(t testing.TB, folder string) *machine {
	m := &machine{t: t, folder: folder}
	m.startEngine()
	m.startRegistry()
	m.startSSH()
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.folder, name) }

func (m *machine) write(name, content string) string {
	m.t.Helper()
	path := m.path(name)
	rigtest.Must(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	rigtest.Must(m.t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// start starts a server, and shows the end of its log if the test fails.
func (m *machine) start(name string, args ...string) {
	m.t.Helper()
	log, err := os.Create(m.path(filepath.Base(name) + ".log"))
	rigtest.Must(m.t, err)
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	rigtest.Must(m.t, cmd.Start())
	log.Close()
	m.t.Cleanup(func() {
		if content, _ := os.ReadFile(log.Name()); m.t.Failed() {
			m.t.Logf("the log of %s:\n%s", name, content[max(0, len(content)-3000):])
		}
	})
}

// startEngine starts a Docker Engine of the namespace's own, because Kamal prunes images and
// containers. It has the storage driver that works on this machine.
func (m *machine) startEngine() {
	m.t.Helper()
	driver, err := os.ReadFile(m.path("driver"))
	rigtest.Must(m.t, err)
	config := m.write("daemon.json", fmt.Sprintf(`{"storage-driver": %q, "log-driver": "json-file", "cgroup-parent": %q}`, driver, "/"+filepath.Base(m.folder)))
	m.start("dockerd", "--config-file", config, "--data-root", m.path("docker"), "--group", userName)
	rigtest.WaitFor(m.t, "the Docker Engine", func() bool {
		time.Sleep(50 * time.Millisecond)
		return exec.Command("docker", "info").Run() == nil
	})
}

func (m *machine) startRegistry() {
	m.t.Helper()
	config := m.write("registry.yml", fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n",
		m.path("registry"), registry))
	m.start("docker-registry", "serve", config)
	listens(m.t, registry)
}

func (m *machine) startSSH() {
	m.t.Helper()
	home := m.path("home")
	rigtest.Must(m.t, os.MkdirAll(home, 0o755))
	rigtest.Must(m.t, os.Chown(home, userID, userID))
	public := m.key("key")
	m.key("host-key")
	authorized := m.write("authorized_keys", public)
	config := m.write("sshd_config", fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nAllowUsers %s\nPidFile none\nMaxStartups 100\nMaxSessions 100\nPrintMotd no\n", sshPort, m.path("host-key"), authorized, userName))
	m.start("/usr/sbin/sshd", "-D", "-e", "-f", config)
	listens(m.t, fmt.Sprintf("127.0.0.1:%d", sshPort))
}

// key writes a new private key, and returns the public one as OpenSSH writes it.
func (m *machine) key(name string) string {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rigtest.Must(m.t, err)
	der, err := x509.MarshalECPrivateKey(key)
	rigtest.Must(m.t, err)
	path := m.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	rigtest.Must(m.t, os.Chmod(path, 0o600))
	out, err := exec.Command("ssh-keygen", "-y", "-f", path).Output()
	rigtest.Must(m.t, err)
	return string(out)
}

// pushProxy pushes the image of `make docker-kamal`, with the program of this source tree in it.
func (m *machine) pushProxy() {
	m.t.Helper()
	docker := func(args ...string) { rigtest.Docker(m.t, args...) }
	docker("load", "-i", m.path("proxy.tar"))
	docker("create", "--name", "image", image)
	docker("cp", m.path("parachute"), "image:/usr/local/bin/parachute")
	docker("commit", "image", proxyImage)
	docker("rm", "image")
	docker("push", proxyImage)
	// Kamal's host has to pull it, as any other does.
	docker("rmi", "-f", image, proxyImage)
}

// pushApp pushes an image of the sample application, which begins with its version.
func (m *machine) pushApp(service, version string, env ...string) {
	m.t.Helper()
	program, err := os.ReadFile(m.path("example"))
	rigtest.Must(m.t, err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	rigtest.Must(m.t, w.WriteHeader(&tar.Header{Name: "example", Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	rigtest.Must(m.t, err)
	rigtest.Must(m.t, w.Close())
	name := registry + "/" + service + ":" + version
	args := []string{"import", "--change", `ENTRYPOINT ["/example"]`, "--change", "LABEL service=" + service}
	for _, e := range append(env, "VERSION="+version) {
		args = append(args, "--change", "ENV "+e)
	}
	cmd := exec.Command("docker", append(args, "-", name)...)
	cmd.Stdin = &archive
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("docker import: %v: %s", err, out)
	}
	rigtest.Docker(m.t, "push", name)
	rigtest.Docker(m.t, "rmi", "-f", name)
}

// listens waits until there is a server.
func listens(t testing.TB, addr string) {
	t.Helper()
	rigtest.WaitFor(t, addr, func() bool {
		time.Sleep(20 * time.Millisecond)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// killedWithParent has a process end with the one that has started it, and gives it
// namespaces of its own.
func killedWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
}

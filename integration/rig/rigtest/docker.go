package rigtest

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Docker runs a command of Docker, and returns what it prints. It ends the test if that fails.
func Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// DockerImage makes an image of the proxy without a registry: it has programs, by their names, and the libraries that
// they need. One of them is parachute, the entry point. env is set besides what parachute needs. The image is removed with the
// test, which is skipped if Docker takes no images.
func DockerImage(t testing.TB, name string, programs map[string]string, env ...string) {
	t.Helper()
	image := make(map[string]string)
	for program, path := range programs {
		image["usr/bin/"+program] = path
		for _, library := range librariesOf(path) {
			image[strings.TrimPrefix(library, "/")] = library
		}
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, folder := range []string{"tmp/", "data/", "run/", "run/parachute/"} {
		Must(t, w.WriteHeader(&tar.Header{Name: folder, Mode: 0o700, Typeflag: tar.TypeDir}))
	}
	for path, from := range image {
		content, err := os.ReadFile(from)
		Must(t, err)
		Must(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content))}))
		_, err = w.Write(content)
		Must(t, err)
	}
	Must(t, w.Close())
	env = append([]string{"PATH=/usr/bin", "XDG_DATA_HOME=/data", "HOME=/data", "PARACHUTE_ADMIN=unix//run/parachute/admin.sock"}, env...)
	cmd := exec.Command("docker", "import", "--change", `ENTRYPOINT ["parachute"]`, "--change", "ENV "+strings.Join(env, " "), "-", name)
	cmd.Stdin = &files
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this Docker takes no images: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", name).Run() })
}

var libraryPath = regexp.MustCompile(`(/\S+) \(0x`)

// librariesOf returns the libraries that are loaded with a program: none if it is linked statically.
func librariesOf(program string) (paths []string) {
	loaded, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil
	}
	for _, found := range libraryPath.FindAllSubmatch(loaded, -1) {
		paths = append(paths, string(found[1]))
	}
	return paths
}

// Compose returns the command for Docker Compose, and skips the test where there is no Docker, or none that has it.
func Compose(t testing.TB) string {
	t.Helper()
	if err := exec.Command("docker", "info").Run(); err != nil {
		t.Skip("there is no Docker: what docs have for it is not run")
	}
	for _, compose := range []string{"docker compose", "docker-compose"} {
		words := append(strings.Fields(compose), "version")
		if exec.Command(words[0], words[1:]...).Run() == nil {
			return compose
		}
	}
	t.Skip("there is no Compose: what docs have for it is not run")
	return ""
}

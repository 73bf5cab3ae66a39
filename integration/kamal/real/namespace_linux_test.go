package real

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// The user that Kamal logs in as exists in the namespaces only. Its number is neither that of
// root nor that of the proxy, so that nothing works because of them.
const (
	userName = "kamal-deployer"
	userID   = 2001
)

// isolate makes the namespaces that this process is the first one of independent of the
// machine: with processes, loopback, /run and users of their own.
func isolate(folder string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	for _, kind := range []struct{ kind, path, options string }{
		{"proc", "/proc", ""},
		// The engine of the machine has its socket here. Nobody can reach it from now on.
		{"tmpfs", "/run", "mode=755"},
	} {
		if err := syscall.Mount(kind.kind, kind.path, kind.kind, 0, kind.options); err != nil {
			return fmt.Errorf("mounting %s: %w", kind.path, err)
		}
	}
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		return err
	}
	for file, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", userName, userID, userID, filepath.Join(folder, "home")),
		"/etc/shadow": userName + ":*:19000:0:99999:7:::\n",
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", userName, userID),
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		copied := filepath.Join(folder, filepath.Base(file))
		if err := os.WriteFile(copied, append(bytes.TrimRight(content, "\n"), "\n"+line...), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(copied, file, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("replacing %s: %w", file, err)
		}
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("loopback: %w: %s", err, out)
	}
	return nil
}

// removeControlGroups removes the control groups of a name, which outlive the processes that
// were in them.
func removeControlGroups(name string) error {
	var groups []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + name)
		if err != nil {
			return err
		}
		groups = append(groups, found...)
	}
	for _, group := range groups {
		var folders []string
		err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, folder := range slices.Backward(folders) {
			if err := syscall.Rmdir(folder); err != nil {
				return err
			}
		}
	}
	return nil
}

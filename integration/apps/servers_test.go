package apps

import (
	"os/exec"
	"syscall"
)

// server is a way to serve an application.
type server struct {
	name string
	// version is a command that prints the version. The server is there if it succeeds.
	version []string
	// command starts an instance. @PORT@, @NAME@ and @DIR@ stand for its port, its name
	// and a folder of its own. The working directory has the applications in it, and
	// PORT and APP_NAME are in the environment.
	command []string
	// stop asks an instance to end as its manual says. Default: SIGTERM.
	stop syscall.Signal
	// config is a file of the working directory that is copied into the instance's folder,
	// with the same words replaced.
	config string
	// quick says that the application takes no time for any request.
	quick bool
	// redirects says that the application sends whoever comes over HTTP to HTTPS, health
	// checks included. A deploy of it is refused unless the health check says that it comes
	// over HTTPS.
	redirects bool
}

// servers are the servers that are tested.
func servers() []server {
	python := pythonWith("uvicorn")
	gunicorn := []string{"gunicorn", "--version"}
	puma := []string{"puma", "--version"}
	return []server{
		{
			name: "gunicorn, sync workers", version: gunicorn,
			command: []string{"gunicorn", "--bind", "127.0.0.1:@PORT@", "--workers", "2", "wsgi:app"},
		},
		{
			name: "gunicorn, threads", version: gunicorn,
			command: []string{"gunicorn", "--bind", "127.0.0.1:@PORT@", "--workers", "1", "--threads", "4", "wsgi:app"},
		},
		{
			name: "uvicorn", version: []string{python, "-m", "uvicorn", "--version"},
			command: []string{python, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "@PORT@", "--no-access-log", "asgi:app"},
		},
		{
			name: "puma, single", version: puma,
			command: []string{"puma", "--quiet", "--environment", "production", "--bind", "tcp://127.0.0.1:@PORT@", "config.ru"},
		},
		{
			name: "puma, cluster", version: puma,
			command: []string{"puma", "--quiet", "--environment", "production", "--workers", "2", "--bind", "tcp://127.0.0.1:@PORT@", "config.ru"},
		},
		{
			name: "Rails, `force_ssl` and host authorisation", version: []string{"ruby", "-e", "require 'rails'; puts Rails.version"},
			command:   []string{"puma", "--quiet", "--environment", "production", "--bind", "tcp://127.0.0.1:@PORT@", "rails.ru"},
			redirects: true,
		},
		{
			name: "Django, `SECURE_SSL_REDIRECT`", version: []string{pythonWith("django"), "-m", "django", "--version"},
			command:   []string{"gunicorn", "--bind", "127.0.0.1:@PORT@", "--workers", "2", "django_app:app"},
			redirects: true,
		},
		{name: "Node.js", version: []string{"node", "--version"}, command: []string{"node", "server.js"}},
		{
			name: "PHP's built-in server", version: []string{"php", "--version"},
			command: []string{"php", "-q", "-S", "127.0.0.1:@PORT@", "router.php"},
		},
		{
			name: "nginx", version: []string{"nginx", "-v"}, config: "nginx.conf", stop: syscall.SIGQUIT, quick: true,
			command: []string{"nginx", "-p", "@DIR@", "-c", "@DIR@/nginx.conf", "-e", "stderr"},
		},
	}
}

// pythonWith returns the Python that has a module: that of the system often is not the
// first one in PATH, and its packages are for it alone.
func pythonWith(module string) string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import "+module).Run() == nil {
			return python
		}
	}
	return "python3"
}

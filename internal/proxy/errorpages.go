package proxy

import (
	"errors"
	"io/fs"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// readErrorPages returns the files of [api.Options.ErrorPages] by their names, if pages can be made
// of them. Its errors are for who asked for a deployment.
func readErrorPages(dir string) (map[string]string, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := errorpage.Read(dir)
	if err == nil {
		return files, nil
	}
	hint := api.Advise("%s must be a directory on the proxy's machine with templates such as 503.html", api.Field("error_pages"))
	if errors.Is(err, fs.ErrPermission) {
		hint = api.Advise("let the user of the proxy read the directory and the files in it; see %s", api.Field("error_pages"))
	}
	return nil, api.Invalid("the error pages cannot be used: %s", api.Printable(err.Error())).WithHint("%s", hint)
}

package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// noteProcesses tells of the processes that have handed over, and still have clients.
func noteProcesses(cmd *cobra.Command, env *Env) error {
	c, err := env.Client(cmd)
	if err != nil {
		return err
	}
	var list api.ProcessList
	err = c.Call(context.Background(), http.MethodGet, api.PathProcesses, nil, &list)
	if api.ErrorCode(err) == api.CodeNotFound {
		return nil // an older proxy
	}
	for _, p := range list.Processes[min(1, len(list.Processes)):] {
		env.note(fmt.Sprintf(" - process %d (%s) has handed over, and stays for %s, %s and %s",
			p.PID, p.Version, api.Count(p.Connections, "connection"), api.Count(p.Requests, "request"), api.Count(p.Streams, "stream")))
	}
	return err
}

package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TestHelpOfDeployHasEveryFlagInItsGroup once, in lines that a terminal has room for.
func TestHelpOfDeployHasEveryFlagInItsGroup(t *testing.T) {
	cmd := &cobra.Command{Use: "deploy TARGET...", Example: "  parachute deploy web-1:3000", RunE: func(*cobra.Command, []string) error { return nil }}
	AddDeploy(new(Env), cmd)
	help := cmd.UsageString()
	for line := range strings.Lines(help) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, s := range api.Settings() {
		_, group, _ := strings.Cut(help, "\n"+string(s.Group)+":\n")
		group, _, _ = strings.Cut(group, "\n\n")
		if flag := "\n      --" + s.Name; s.Group == "" || !strings.Contains("\n"+group, flag+" ") && !strings.Contains("\n"+group, flag+"[") {
			t.Errorf("--%s is not in the group %q", s.Name, s.Group)
		}
		if n := strings.Count(help, "      --"+s.Name+" ") + strings.Count(help, "      --"+s.Name+"["); n != 1 {
			t.Errorf("--%s is there %d times", s.Name, n)
		}
	}
	for _, other := range []string{"--dry-run", "--output", "--quiet", "--unset"} {
		if !strings.Contains(help, other+" ") {
			t.Errorf("there is no %s", other)
		}
	}
}

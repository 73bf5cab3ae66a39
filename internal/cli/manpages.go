package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/parachute-proxy/parachute/internal/api"
)

// NewManPagesCommand returns the command by which `make install` gets the manual.
func NewManPagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "manpages DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("manpages needs a directory")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return &api.Error{Code: api.CodeInternal, Message: fmt.Sprintf("making the directory: %v", err)}
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			asMarkdown(root)
			// Section 8 is for administrators (man(1)). SOURCE_DATE_EPOCH sets the date.
			return doc.GenManTree(root, &doc.GenManHeader{Title: "PARACHUTE", Section: "8", Source: "parachute"}, args[0])
		},
	}
}

// asMarkdown makes what is indented in the help of commands code, as the manual's
// generator reads it.
func asMarkdown(cmd *cobra.Command) {
	cmd.Long = strings.ReplaceAll(cmd.Long, "\n  ", "\n    ")
	for _, c := range cmd.Commands() {
		asMarkdown(c)
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/client"
)

// Env is what commands work with: nothing else in this package touches the process's
// streams, arguments, signals or terminal.
type Env struct {
	// Args are the arguments of the program, without its name.
	Args []string
	// In, Out and Err are the standard streams. Data goes to Out; progress, hints and
	// errors go to Err.
	In       io.Reader
	Out, Err *Stream
	// Connect returns a client of the proxy whose admin endpoint is given, or else of
	// the one that runs in the default place.
	Connect func(admin string) (*client.Client, error)
	// Quit ends the process with an exit code, and does not return.
	Quit func(code int)

	// prefix is what is written before the program's own name: "caddy " if our commands
	// are Caddy's children.
	prefix string
}

// Stream is an output of a command, and what can be shown there.
type Stream struct {
	io.Writer
	// Terminal says that it is a terminal that can move its cursor.
	Terminal bool
	// Size returns the columns and lines of the terminal as it is now. It is nil for
	// anything else.
	Size func() (columns, lines int)
	style
}

// NewEnv returns the Env of this process, which was called as a program with arguments;
// see [argv0.Called].
func NewEnv(program argv0.Program, args []string) *Env {
	e := &Env{Args: args, In: os.Stdin, Out: streamOf(os.Stdout), Err: streamOf(os.Stderr), Connect: client.New, Quit: os.Exit}
	if program == argv0.Caddy {
		e.prefix = "caddy "
	}
	return e
}

// streamOf decides by the customs of the field what a file can show: NO_COLOR
// (no-color.org), CLICOLOR_FORCE, TERM, and whether it is a terminal at all.
func streamOf(f *os.File) *Stream {
	s := &Stream{Writer: f, Terminal: term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
	if s.Terminal {
		s.Size = func() (columns, lines int) {
			columns, lines, _ = term.GetSize(int(f.Fd()))
			return columns, lines
		}
	}
	force := os.Getenv("CLICOLOR_FORCE")
	s.color = os.Getenv("NO_COLOR") == "" && (s.Terminal || force != "" && force != "0")
	return s
}

// heed makes the flags count that are about how all commands print.
func (e *Env) heed(cmd *cobra.Command) {
	if off, _ := cmd.Flags().GetBool("no-color"); off {
		e.Out.color, e.Err.color = false, false
	}
}

// Client returns a client of the proxy that --admin names, or of the one that runs in
// the default place.
func (e *Env) Client(cmd *cobra.Command) (*client.Client, error) {
	given, _ := cmd.Flags().GetString("admin")
	return e.Connect(given)
}

// interruptible returns a context that ends when somebody wants the process to stop, by
// Ctrl-C or SIGTERM. stop has the process end at once by these again.
func (*Env) interruptible() (ctx context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// size returns the columns and lines that there are; 0 means no limit.
func (s *Stream) size() (columns, lines int) {
	if s.Size == nil {
		return 0, 0
	}
	return s.Size()
}

// note tells people something that is neither data nor an error.
func (e *Env) note(text string) { fmt.Fprintln(e.Err, text) }

// command is a command line of ours in a text: the name of the program, and a command.
var command = regexp.MustCompile(`(^|[^\w/-])(caddy )?parachute (apply|caddy|deploy|events|help|history|import|list|pause|remove|resume|rollback|rollout|run|status|stop|upgrade|version|wait)\b`)

// named returns a text that names commands, with the words that they are called by in
// this program.
func (e *Env) named(text string) string {
	if e.prefix == "" {
		return text
	}
	return command.ReplaceAllString(text, "${1}"+e.prefix+"parachute $3")
}

// nameCommands has the help of cmd and of those below it name them as they are called.
func (e *Env) nameCommands(cmd *cobra.Command) {
	cmd.Long, cmd.Example = e.named(cmd.Long), e.named(cmd.Example)
	for _, c := range cmd.Commands() {
		e.nameCommands(c)
	}
}

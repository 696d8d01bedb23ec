package ui

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Confirm asks for the typed name of what is going to be changed. Off a terminal it refuses: nobody is
// there to ask, and --yes is the way to say it in a script.
func (s Streams) Confirm(ctx context.Context, question, name string) error {
	if !s.CanAsk {
		return &recovery.Problem{
			What: "nobody was there to confirm it, so nothing was changed", Why: question + " Standard input is no terminal",
			Next: "look at the plan above, then add --yes", Err: recovery.ErrUsage,
		}
	}
	if _, err := fmt.Fprintf(s.Err, "%s\nType %s to go on: ", question, s.Paint(Caution, name)); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.In).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case typed := <-answer:
		if typed == name {
			return nil
		}
		return &recovery.Problem{
			What: fmt.Sprintf("%q is not %q", typed, name), Why: "so nothing was changed", Next: "run it again and type the name as it is shown", Err: recovery.ErrDeclined,
		}
	}
}

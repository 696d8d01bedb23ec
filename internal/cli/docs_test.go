package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
)

// TestDocsAreFresh holds docs/ to the commands: one page for each group, one for drctl itself.
func TestDocsAreFresh(t *testing.T) {
	settings := &command.Settings{Kube: genericclioptions.NewConfigFlags(false)}
	root := NewRoot(&command.Factory{Settings: settings, Wiring: newFakeWiring()}, Version{}, "drctl")
	root.InitDefaultCompletionCmd()
	pages := map[string][]*cobra.Command{"drctl": {root}}
	for _, child := range root.Commands() {
		switch {
		case child.HasSubCommands() && child.Name() != "completion":
			pages[child.Name()] = append([]*cobra.Command{child}, child.Commands()...)
		case child.IsAvailableCommand():
			pages["drctl"] = append(pages["drctl"], child)
		}
	}
	for name, commands := range pages {
		path := filepath.Join("..", "..", "docs", "drctl-"+name+".md")
		if name == "drctl" {
			path = filepath.Join("..", "..", "docs", "drctl.md")
		}
		page := page(commands)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(page), 0o644))
		}
		written, err := os.ReadFile(path)
		require.NoError(t, err, "run make docs")
		require.Equal(t, string(written), page, "run make docs")
	}
}

func page(commands []*cobra.Command) string {
	var b strings.Builder
	b.WriteString("<!-- Generated from the commands by make docs; do not edit. -->\n")
	for i, cmd := range commands {
		level := "##"
		if i == 0 {
			level = "#"
		}
		fmt.Fprintf(&b, "%s %s\n\n", level, cmd.CommandPath())
		text := cmd.Long
		if text == "" || cmd.Name() == "completion" {
			text = cmd.Short + "."
		}
		b.WriteString(text + "\n\n```\n" + strings.TrimRight(cmd.UsageString(), "\n") + "\n```\n\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

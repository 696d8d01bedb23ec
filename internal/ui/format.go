package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// Format is the value of -o.
type Format string

// The formats that every listing knows.
const (
	FormatTable Format = "table"
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// Formats lists them for help and completion.
func Formats() []string { return []string{"table", "wide", "json", "yaml", "name"} }

// ParseFormat reads the value of -o; empty means a table.
func ParseFormat(text string) (Format, error) {
	if text == "" {
		return FormatTable, nil
	}
	for _, known := range Formats() {
		if text == known {
			return Format(text), nil
		}
	}
	return "", &recovery.Problem{
		What: fmt.Sprintf("unknown output format %q", text), Next: "use -o " + strings.Join(Formats(), "|"), Err: recovery.ErrUsage,
	}
}

// View is an answer that can be shown in every format. JSON and YAML render Data, the struct that the
// table is made of.
type View struct {
	Data any
	// Table writes it for people; wide asks for every column.
	Table func(w io.Writer, wide bool) error
	// Names are what -o name prints, one a line.
	Names []string
}

// Print writes the view to stdout. A failed write is an error: half an answer must not look whole.
func (s Streams) Print(format Format, view View) error {
	var err error
	switch format {
	case FormatJSON:
		encoder := json.NewEncoder(s.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(view.Data)
	case FormatYAML:
		var out []byte
		if out, err = yaml.Marshal(view.Data); err == nil {
			_, err = s.Out.Write(out)
		}
	case FormatName:
		for _, name := range view.Names {
			if _, err = fmt.Fprintln(s.Out, name); err != nil {
				break
			}
		}
	default:
		err = view.Table(s.Out, format == FormatWide)
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

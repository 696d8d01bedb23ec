package barman

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// parseTablespaces reads Python's repr of [(name, oid, location), …].
// Source: barman/infofile.py, load_tablespace_list.
func parseTablespaces(text string) ([]recovery.Tablespace, error) {
	p := &literal{rest: text}
	var list []recovery.Tablespace
	err := p.sequence("[", "]", func() error {
		var space recovery.Tablespace
		fields := []func() error{p.text(&space.Name), p.number(&space.OID), p.text(&space.Location)}
		closing, err := p.open("(", ")", "[", "]")
		if err != nil {
			return err
		}
		for i, field := range fields {
			if i > 0 {
				if err := p.expect(","); err != nil {
					return err
				}
			}
			if err := field(); err != nil {
				return err
			}
		}
		p.skip(",")
		list = append(list, space)
		return p.expect(closing)
	})
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = errors.New("there is more behind the list")
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no list of tablespaces: %w", shorten(text), err)
	}
	return list, nil
}

// literal reads the few Python literals that Barman writes.
type literal struct{ rest string }

// skip takes the token away if it comes next, blanks before it too.
func (p *literal) skip(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \t")
	after, found := strings.CutPrefix(p.rest, token)
	if found {
		p.rest = after
	}
	return found
}

func (p *literal) expect(token string) error {
	if !p.skip(token) {
		return fmt.Errorf("%s is missing", token)
	}
	return nil
}

// open takes one of the opening tokens and gives the closing one that belongs to it.
func (p *literal) open(pairs ...string) (closing string, err error) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if p.skip(pairs[i]) {
			return pairs[i+1], nil
		}
	}
	return "", fmt.Errorf("%s is missing", pairs[0])
}

func (p *literal) sequence(opening, closing string, element func() error) error {
	if err := p.expect(opening); err != nil {
		return err
	}
	for !p.skip(closing) {
		if err := element(); err != nil {
			return err
		}
		if !p.skip(",") {
			return p.expect(closing)
		}
	}
	return nil
}

func (p *literal) number(into *int64) func() error {
	return func() error {
		p.skip("")
		digits := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "0123456789"))]
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return errors.New("a number is missing")
		}
		*into, p.rest = number, p.rest[len(digits):]
		return nil
	}
}

func (p *literal) text(into *string) func() error {
	return func() error {
		quote, err := p.open("'", "'", `"`, `"`)
		if err != nil {
			return err
		}
		var b strings.Builder
		for p.rest != "" {
			if after, end := strings.CutPrefix(p.rest, quote); end {
				*into, p.rest = b.String(), after
				return nil
			}
			// Python's escapes are Go's, save that both quotes may be escaped anywhere.
			value, multibyte, tail, err := strconv.UnquoteChar(p.rest, quoteOf(p.rest, quote))
			if err != nil {
				return fmt.Errorf("a text is not well formed: %w", err)
			}
			if value < 0x80 || multibyte {
				b.WriteRune(value)
			} else {
				// \xe9 is the character U+00E9 in Python, a byte in Go.
				b.WriteRune(rune(byte(value)))
			}
			p.rest = tail
		}
		return errors.New("a text has no end")
	}
}

// quoteOf tells UnquoteChar which quote may be escaped.
func quoteOf(rest, quote string) byte {
	if strings.HasPrefix(rest, `\'`) {
		return '\''
	}
	if strings.HasPrefix(rest, `\"`) {
		return '"'
	}
	return quote[0]
}

package edit

import (
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const byteOrderMark = "\ufeff"

// text is a file in lines, each with its line end, as YAML counts them.
type text struct {
	mark  string // the byte order mark, or nothing
	lines []string
}

func split(content string) text {
	t := text{}
	if rest, found := strings.CutPrefix(content, byteOrderMark); found {
		t.mark, content = byteOrderMark, rest
	}
	for len(content) > 0 {
		end := lineEnd(content)
		t.lines = append(t.lines, content[:end])
		content = content[end:]
	}
	return t
}

// lineEnd is the length of the first line with its end. Source: go.yaml.in/yaml/v3 yamlprivateh.go, is_break.
func lineEnd(content string) int {
	for i, r := range content {
		switch r {
		case '\r':
			if strings.HasPrefix(content[i:], "\r\n") {
				return i + 2
			}
			return i + 1
		case '\n', '\u0085', '\u2028', '\u2029':
			return i + utf8.RuneLen(r)
		}
	}
	return len(content)
}

// withoutEnd cuts the line end off a line.
func withoutEnd(line string) string { return strings.TrimRight(line, "\r\n\u0085\u2028\u2029") }

// endOf is the line end of a line, empty for a last one without.
func endOf(line string) string { return line[len(withoutEnd(line)):] }

// splice replaces a part of one line, or puts a new line ahead of it.
type splice struct {
	line       int // 0-based
	start, end int // bytes within the line
	text       string
	newLine    bool // text is a whole line, without its end
}

// apply gives the text with all splices made; they do not overlap.
func (t text) apply(splices []splice) string {
	byLine := map[int][]splice{}
	for _, s := range splices {
		byLine[s.line] = append(byLine[s.line], s)
	}
	var b strings.Builder
	b.WriteString(t.mark)
	for i := 0; i <= len(t.lines); i++ {
		line := ""
		if i < len(t.lines) {
			line = t.lines[i]
		}
		done := 0
		for _, s := range byLine[i] {
			if s.newLine {
				b.WriteString(s.text + t.lineEndAt(i))
				continue
			}
			b.WriteString(line[done:s.start] + s.text)
			done = s.end
		}
		b.WriteString(line[done:])
	}
	return b.String()
}

// lineEndAt is the line end for a new line ahead of line i: that of the line before.
func (t text) lineEndAt(i int) string {
	if i > 0 {
		if end := endOf(t.lines[i-1]); end != "" {
			return end
		}
	}
	return "\n"
}

// source finds parsed nodes in a text; it is a document of a file, or a text within a block scalar of one.
type source struct {
	text   text
	first  int // the file's lines ahead of the document
	indent int // bytes ahead of each of its lines in the file
}

// at gives line and byte of a node within the source. ok is false when they can't be where the parser
// says, since columns are counted in characters.
func (s source) at(node *yaml.Node) (line, start int, ok bool) {
	line = node.Line - 1
	if line < 0 || line >= len(s.text.lines) {
		return 0, 0, false
	}
	content := s.text.lines[line]
	for range node.Column - 1 {
		if start >= len(content) {
			return 0, 0, false
		}
		_, size := utf8.DecodeRuneInString(content[start:])
		start += size
	}
	return line, start, true
}

// lineOf is a node's line in the file, 1-based.
func (s source) lineOf(node *yaml.Node) int { return s.first + node.Line }

// place moves a splice of this source to where it is in the file.
func (s source) place(c splice) splice {
	c.line += s.first
	if c.newLine {
		c.text = strings.Repeat(" ", s.indent) + c.text
		return c
	}
	c.start += s.indent
	c.end += s.indent
	return c
}

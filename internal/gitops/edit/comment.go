package edit

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// commented plans the changes in comments of a document: the externalClusters that a recovery by hand
// would bring back to life.
func (p *planner) commented(d *document, write store) {
	lines := d.source.text.lines
	for i := 0; i < len(lines); {
		block := blockAt(lines, i)
		if block == nil {
			i++
			continue
		}
		p.commentedBlock(d, *block, write)
		i = block.end
	}
}

// block is a run of comment lines that hold externalClusters, or entries of it.
type block struct {
	start, end int
	entries    bool // without the key externalClusters ahead
}

// blockAt finds the block that begins at a line.
func blockAt(lines []string, start int) *block {
	plain, column, ok := uncomment(lines[start])
	if !ok {
		return nil
	}
	found := &block{start: start}
	switch body := plain[column:]; {
	case strings.HasPrefix(body, "externalClusters:"):
	case strings.HasPrefix(body, "- "):
		found.entries = true
	default:
		return nil
	}
	for found.end = start + 1; found.end < len(lines); found.end++ {
		line := lines[found.end]
		if strings.TrimSpace(line) == "" {
			continue
		}
		plain, at, ok := uncomment(line)
		if !ok {
			break
		}
		inside := at > column || (at == column && strings.HasPrefix(plain[at:], "-"))
		if !inside && looksLikeYAML(plain[at:]) {
			break
		}
		if found.entries && strings.HasPrefix(plain[at:], "externalClusters:") {
			break // what went before was a list of prose
		}
	}
	return found
}

// uncomment puts a space in place of a comment's first "#", so that all columns stay. It also gives the
// column of the text; ok is false for a line that is no comment.
func uncomment(line string) (plain string, column int, ok bool) {
	content := withoutEnd(line)
	rest := strings.TrimLeft(content, " \t")
	hash := len(content) - len(rest)
	if !strings.HasPrefix(rest, "#") {
		return "", 0, false
	}
	plain = content[:hash] + " " + rest[1:]
	return plain, len(plain) - len(strings.TrimLeft(plain, " ")), true
}

// looksLikeYAML tells a pair or an entry from prose.
func looksLikeYAML(body string) bool {
	return regexp.MustCompile(`^(- )*["']?[A-Za-z0-9_./-]+["']?:( |$)|^- |^-$|^[{}\[\]]|^#`).MatchString(body)
}

// commentedBlock parses a block as if it were none and plans its changes. Prose between the lines is passed over.
func (p *planner) commentedBlock(d *document, b block, write store) {
	inner := text{}
	for _, line := range d.source.text.lines[b.start:b.end] {
		plain, column, ok := uncomment(line)
		if !ok || column == len(plain) || !looksLikeYAML(plain[column:]) {
			plain = ""
		}
		inner.lines = append(inner.lines, plain+"\n")
	}
	parsed := parse(source{text: inner, first: d.source.first + b.start})
	if len(parsed) != 1 || parsed[0].broken != nil {
		p.warnUnread(d, b)
		return
	}
	externals := parsed[0].root
	if !b.entries {
		externals = read(externals, "externalClusters")
	}
	if externals == nil || externals.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range externals.Content {
		if reads := externalStore(item, p.target.Name); reads != nil {
			p.commentedEntry(d, &parsed[0], b, *reads, write)
		}
	}
}

// warnUnread names a block that does not parse and that seems to name a server.
func (p *planner) warnUnread(d *document, b block) {
	for i, line := range d.source.text.lines[b.start:b.end] {
		if strings.Contains(line, serverName+":") && !strings.Contains(line, p.to) {
			p.warnings = append(p.warnings, fmt.Sprintf("line %d: the comment there names a server and can't be read as YAML for itself: set it to %s by hand",
				d.source.first+b.start+i+1, p.to))
		}
	}
}

// commentedEntry plans the change of one entry.
func (p *planner) commentedEntry(d, parsed *document, b block, reads, write store) {
	server := read(reads.mapping, serverName)
	if server == nil || server.Kind != yaml.ScalarNode || server.Value == p.to {
		return
	}
	same, known := reads.isSame(write)
	if !same && (known || server.Value != p.from) {
		return
	}
	line, start, ok := parsed.source.at(server)
	if !ok {
		return
	}
	quote := ""
	switch server.Style {
	case yaml.DoubleQuotedStyle:
		quote = `"`
	case yaml.SingleQuotedStyle:
		quote = "'"
	}
	written := quote + server.Value + quote
	if server.Value == "" || !strings.HasPrefix(parsed.source.text.lines[line][start:], written) {
		p.warnings = append(p.warnings, fmt.Sprintf("line %d: the comment there names the server %s: set it to %s by hand",
			parsed.source.lineOf(server), server.Value, p.to))
		return
	}
	if quote == "" && needsQuotes(p.to) {
		quote = `"`
	}
	placed := d.source.place(splice{line: b.start + line, start: start, end: start + len(written), text: quote + p.to + quote})
	p.comments = append(p.comments, change{splice: placed, Change: Change{
		Line: placed.line + 1, Path: reads.path + "." + serverName, Old: server.Value, New: p.to, Commented: true,
	}})
}

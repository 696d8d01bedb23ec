package edit

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generated is a manifest with what an edit must make of it, line by line.
type generated struct {
	before, after string
	from          string
	changes       int
}

// generator writes manifests as people do: in both shapes, with comments everywhere, in any order,
// indentation, quotes and line ends.
type generator struct {
	*rand.Rand
	before, after strings.Builder
	lineEnd       string
	indent        int
	listIndent    int // how far a list stands behind its key
	afterBlock    bool
	absent        bool // serverName, so that the server is the Cluster's name
	from          string
	changes       int
}

func generate(seed uint64) generated {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7)), lineEnd: "\n", indent: 2, from: from}
	if g.maybe(30) {
		g.lineEnd = "\r\n"
	}
	if g.maybe(40) {
		g.indent = 4
	}
	if g.maybe(50) {
		g.listIndent = g.indent
	}
	if g.absent = g.maybe(20); g.absent {
		g.from = "immich-database"
	}
	for range g.IntN(3) {
		g.otherDocument()
		g.line(0, "---")
	}
	g.cluster()
	for range g.IntN(3) {
		g.line(0, "---")
		g.otherDocument()
	}
	before, after := g.before.String(), g.after.String()
	if g.maybe(20) {
		before, after = strings.TrimSuffix(before, g.lineEnd), strings.TrimSuffix(after, g.lineEnd)
	}
	if g.maybe(10) {
		before, after = byteOrderMark+before, byteOrderMark+after
	}
	return generated{before: before, after: after, from: g.from, changes: g.changes}
}

func (g *generator) maybe(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// line writes a line that stays.
func (g *generator) line(column int, text string) { g.both(column, text, text) }

// both writes a line and what it becomes.
func (g *generator) both(column int, text, want string) {
	g.noise(column)
	g.afterBlock = false
	end := pick(g, "", "", "", " ", "  # why: serverName: immich-database-v1", " #\ttab")
	if strings.HasPrefix(text, "---") {
		end = ""
	}
	g.raw(strings.Repeat(" ", column)+text+end, strings.Repeat(" ", column)+want+end)
}

func (g *generator) raw(text, want string) {
	g.before.WriteString(text + g.lineEnd)
	g.after.WriteString(want + g.lineEnd)
	if text != want {
		g.changes++
	}
}

// noise writes comments and blank lines. Behind a commented block nothing is written that could be a part of it.
func (g *generator) noise(column int) {
	for g.maybe(25) {
		text := pick(g, "", "   ", "# See the wiki, ünïcode 日本.", "#", "#\tindented by a tab", "# immich-database-v1 comes after immich-database-v0")
		if !g.afterBlock {
			text = pick(g, text, "# serverName: immich-database-v1", "#serverName: immich-database-v1", "# backup: {barmanObjectStore: {serverName: immich-database-v1}}")
		}
		if strings.TrimSpace(text) != "" {
			text = strings.Repeat(" ", pick(g, 0, column, column+g.indent)) + text
		}
		g.raw(text, text)
	}
}

// shuffled calls parts in any order.
func (g *generator) shuffled(parts ...func()) {
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, part := range parts {
		part()
	}
}

func (g *generator) otherDocument() {
	switch g.IntN(4) {
	case 0:
		g.line(0, "kind: ConfigMap")
		g.line(0, "data: {serverName: immich-database-v1}")
	case 1: // Cluster API's
		g.line(0, "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: immich-database}, spec: {backup: {barmanObjectStore: {serverName: immich-database-v1}}}}")
	case 2:
		g.line(0, "apiVersion: postgresql.cnpg.io/v1")
		g.line(0, "kind: Cluster")
		g.line(0, "metadata: {name: immich-database, namespace: elsewhere}")
		g.line(0, "spec: {backup: {barmanObjectStore: {serverName: immich-database-v1}}}")
	case 3:
		g.line(0, "# nothing")
	}
}

func (g *generator) cluster() {
	write := g.inTreeStore
	if g.maybe(50) {
		write = g.pluginStore
	}
	g.shuffled(
		func() { g.line(0, `apiVersion: `+pick(g, "postgresql.cnpg.io/v1", `"postgresql.cnpg.io/v1"`)) },
		func() { g.line(0, "kind: Cluster") },
		func() {
			g.line(0, "metadata:")
			g.line(g.indent, "name: "+pick(g, "immich-database", "'immich-database'"))
			if g.maybe(50) {
				g.line(g.indent, "namespace: cloudnative-pg")
			}
		},
		func() {
			g.line(0, "spec:")
			g.shuffled(
				func() { g.line(g.indent, "instances: 1") }, func() { g.bootstrap(g.indent) },
				func() { write(g.indent) }, func() { g.commentedExternals(g.indent) },
			)
		},
	)
}

func (g *generator) bootstrap(column int) {
	if g.maybe(20) {
		return
	}
	if g.maybe(30) {
		g.line(column, "bootstrap: {initdb: {database: immich, owner: immich}}")
		return
	}
	g.line(column, "bootstrap:")
	g.line(column+g.indent, "initdb:")
	g.line(column+2*g.indent, "database: immich")
	if g.maybe(50) {
		// These look like comments and are a value.
		at := strings.Repeat(" ", column+3*g.indent)
		text := strings.Repeat(" ", column+2*g.indent) + "description: |"
		for _, line := range []string{text, at + "# externalClusters:", at + "# - name: x", at + "#   barmanObjectStore:", at + "#     serverName: immich-database-v1"} {
			g.raw(line, line)
		}
	}
}

// server writes a pair with the server, in any quotes.
func (g *generator) server(key string) (text, want string) {
	quote := pick(g, "", "", `"`, "'")
	space := pick(g, " ", " ", "   ")
	if g.maybe(15) {
		key = `"` + key + `"`
	}
	current := pick(g, g.from, g.from, g.from, to)
	return key + ":" + space + quote + current + quote, key + ":" + space + quote + to + quote
}

func (g *generator) inTreeStore(column int) {
	if !g.absent && g.maybe(25) {
		text, want := g.server("serverName")
		head, tail := "backup: {retentionPolicy: 14d, barmanObjectStore: {destinationPath: s3://a/b, x: "+pick(g, "plain", "'ü 日本'")+", ", ", wal: {compression: gzip}}}"
		g.both(column, head+text+tail, head+want+tail)
		return
	}
	g.line(column, "backup:")
	column += g.indent
	g.shuffled(
		func() { g.line(column, "retentionPolicy: 14d") },
		func() {
			g.line(column, "barmanObjectStore:")
			g.store(column+g.indent, "destinationPath: s3://a/b", "endpointURL: http://192.0.2.1:9000")
		},
	)
}

// store writes the pairs of a mapping with serverName, or without: then a line appears behind its key.
func (g *generator) store(column int, pairs ...string) {
	var parts []func()
	if g.absent {
		g.after.WriteString(strings.Repeat(" ", column) + "serverName: " + to + g.lineEnd)
		g.changes++
	} else {
		parts = append(parts, func() {
			text, want := g.server("serverName")
			g.both(column, text, want)
		})
	}
	for _, pair := range pairs {
		parts = append(parts, func() { g.line(column, pair) })
	}
	g.shuffled(parts...)
}

func (g *generator) pluginStore(column int) {
	g.line(column, "plugins:")
	item := column + g.listIndent
	if g.maybe(30) {
		g.line(item, "- name: some-other.plugin")
		g.line(item+2, "parameters: {serverName: immich-database-v1}")
	}
	if !g.absent && g.maybe(25) {
		text, want := g.server("serverName")
		head, tail := "- {name: barman-cloud.cloudnative-pg.io, isWALArchiver: true, parameters: {barmanObjectName: garage, ", "}}"
		g.both(item, head+text+tail, head+want+tail)
		return
	}
	g.line(item, "- name: barman-cloud.cloudnative-pg.io")
	g.shuffled(
		func() { g.line(item+2, "isWALArchiver: true") },
		func() {
			g.line(item+2, "parameters:")
			g.store(item+2+g.indent, "barmanObjectName: garage")
		},
	)
}

// commentedExternals writes the block that a recovery by hand would uncomment. It names no store, or that of
// the in-tree shape; whichever shape is live, the server `from` in it becomes `to`.
func (g *generator) commentedExternals(column int) {
	if g.maybe(30) {
		return
	}
	lead, gap := strings.Repeat(" ", column)+"#", pick(g, " ", "")
	if g.maybe(40) {
		lead, gap = "#", strings.Repeat(" ", column)
	}
	comment := func(column int, text, want string) {
		if g.maybe(15) {
			g.raw(lead+" (prose, as it comes)", lead+" (prose, as it comes)")
		}
		if g.maybe(10) {
			g.raw("", "")
		}
		end := pick(g, "", "", " ", "  # "+fmt.Sprint(g.IntN(9)))
		g.raw(lead+gap+strings.Repeat(" ", column)+text+end, lead+gap+strings.Repeat(" ", column)+want+end)
	}
	same := func(column int, text string) { comment(column, text, text) }
	g.noise(column)
	header := lead + gap + "externalClusters:"
	g.raw(header, header)
	item := g.listIndent
	same(item, "- name: elsewhere")
	same(item+2, "barmanObjectStore: {destinationPath: s3://a/other, serverName: immich-database-v0}")
	same(item, "- name: immich-backup")
	quote := pick(g, "", `"`, "'")
	same(item+2, "barmanObjectStore:")
	comment(item+2+g.indent, "serverName: "+quote+g.from+quote, "serverName: "+quote+to+quote)
	if g.maybe(50) {
		same(item+2+g.indent, "destinationPath: s3://a/b")
	}
	g.afterBlock = true
}

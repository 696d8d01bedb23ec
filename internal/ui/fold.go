package ui

import (
	"strings"
	"unicode/utf8"
)

// Fold breaks text between words, so that it fits a terminal of so many columns when its first line begins
// behind indent of them; the lines below begin there, too. A word that is longer stays whole: a name or a
// command that is broken can't be copied. Columns is 0 where there is no terminal, and nothing is broken.
func Fold(text string, indent, columns int) string {
	const least = 16
	if columns-indent < least {
		return text
	}
	var lines []string
	line, length := "", 0
	for word := range strings.FieldsSeq(text) {
		long := utf8.RuneCountInString(word)
		if length > 0 && length+1+long > columns-indent {
			lines = append(lines, line)
			line, length = "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+long
	}
	return strings.Join(append(lines, line), "\n"+strings.Repeat(" ", indent))
}

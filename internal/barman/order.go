package barman

import (
	"cmp"
	"strings"
)

// compareNatural orders names as people count them: immich-v2 before immich-v10.
func compareNatural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		numberX, restX := leadingDigits(x)
		numberY, restY := leadingDigits(y)
		if numberX != "" && numberY != "" {
			if c := cmp.Or(cmp.Compare(len(numberX), len(numberY)), strings.Compare(numberX, numberY)); c != 0 {
				return c
			}
			x, y = restX, restY
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// leadingDigits cuts a number off the front, without its leading zeros; empty when there is none.
func leadingDigits(text string) (number, rest string) {
	rest = strings.TrimLeft(text, "0123456789")
	digits := text[:len(text)-len(rest)]
	if digits == "" {
		return "", text
	}
	if trimmed := strings.TrimLeft(digits, "0"); trimmed != "" {
		return trimmed, rest
	}
	return "0", rest
}

package storage

import (
	"context"
	"strings"
)

// mostEvents is how many warnings a person is shown.
const mostEvents = 3

// Events are the newest warnings about an object in one line, for people; empty for none.
func (a *API) Events(ctx context.Context, namespace, kind, name string) (string, error) {
	warnings, err := a.client.Warnings(ctx, namespace, kind, name)
	if err != nil {
		return "", err
	}
	text := strings.Join(warnings[:min(len(warnings), mostEvents)], "; ")
	return strings.Join(strings.Fields(text), " "), nil
}

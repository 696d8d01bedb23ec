package storage

import (
	"context"
	"strings"
	"time"
)

// mostEvents is how many warnings a person is shown.
const mostEvents = 3

// eventsHold is how long what was read about an object is told again: whoever waits asks many times a second,
// and nothing but what a person reads depends on it.
const eventsHold = 30 * time.Second

// Events are the newest warnings about an object in one line, for people; empty for none. They may be half
// a minute old.
func (a *API) Events(ctx context.Context, namespace, kind, name string) (string, error) {
	key := kind + " " + namespace + "/" + name
	a.mu.Lock()
	told, known := a.events[key]
	a.mu.Unlock()
	if known && time.Since(told.at) < eventsHold {
		return told.text, nil
	}
	text, err := a.readEvents(ctx, namespace, kind, name)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[key] = toldEvents{text, time.Now()}
	return text, nil
}

// toldEvents is what was told about an object.
type toldEvents struct {
	text string
	at   time.Time
}

func (a *API) readEvents(ctx context.Context, namespace, kind, name string) (string, error) {
	warnings, err := a.client.Warnings(ctx, namespace, kind, name)
	if err != nil {
		return "", err
	}
	text := strings.Join(warnings[:min(len(warnings), mostEvents)], "; ")
	return strings.Join(strings.Fields(text), " "), nil
}

package kube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
)

// longestLineBytes bounds what is given of one line of a log.
const longestLineBytes = 64 << 10

// FollowLog gives a container's log line by line, from its beginning until the container ends or ctx does. Of
// a line longer than 64 KiB its end is given: that of a progress that overwrites itself says how it ended. It is for containers whose Pod is removed as soon as
// they have ended: their log can't be read afterwards.
func (c *Client) FollowLog(ctx context.Context, namespace, pod, container string, line func(text string)) error {
	what := fmt.Sprintf("follow the log of container %s of Pod %s/%s", container, namespace, pod)
	client, err := c.rawClient()
	if err != nil {
		return err
	}
	body, err := client.Get().AbsPath(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log", url.PathEscape(namespace), url.PathEscape(pod))).
		Param("container", container).Param("follow", "true").Timeout(0).Stream(ctx)
	if err != nil {
		return c.explainPod(ctx, what, err)
	}
	defer func() { _ = body.Close() }()
	reader := bufio.NewReader(body) // a small one: hundreds of logs are followed at once
	var text []byte
	for {
		piece, more, err := reader.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.explainPod(ctx, what, err)
		}
		text = append(text, piece...)
		text = text[max(0, len(text)-longestLineBytes):]
		if !more {
			line(string(text))
			text = text[:0]
		}
	}
}

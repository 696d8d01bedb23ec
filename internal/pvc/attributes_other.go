//go:build !unix

package pvc

import (
	"os"
	"time"
)

// setLinkTime does nothing: a link has no time of its own to set here.
func setLinkTime(*os.Root, string, time.Time) error { return nil }

//go:build unix

package pvc

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// setLinkTime sets the time of a link itself.
func setLinkTime(folder *os.Root, name string, at time.Time) error {
	opened, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	stamp, err := unix.TimeToTimespec(at)
	if err != nil {
		return fmt.Errorf("time of %s: %w", name, err)
	}
	return unix.UtimesNanoAt(int(opened.Fd()), name, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
}

package pvc

import "io/fs"

// UnixMode turns Go's bits of a mode into those that chmod takes.
func UnixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, unix := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= unix
		}
	}
	return bits
}

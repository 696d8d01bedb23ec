// Package launch keeps the garbage collector out of the program's start: the libraries initialise some
// 10 MB of tables that live until the end anyway, and collecting twice meanwhile costs a quarter of the
// time of `drctl version`. Go initialises packages in order of their import path where dependencies
// allow it, so this one, which depends on nothing, runs ahead of k8s.io and sigs.k8s.io.
//
// It must import the standard library only.
package launch

import "runtime/debug"

// relaxed is how much the heap may grow between two collections while a command runs, in percent: a
// command lives for a second, and its memory stays below a few hundred MB.
const relaxed = 300

// standard is what Go starts with when GOGC is not set.
const standard = 100

var atStart = debug.SetGCPercent(-1)

// Done ends the start: the collector runs again, as GOGC says, or relaxed when it says nothing.
func Done() {
	if atStart == standard {
		debug.SetGCPercent(relaxed)
		return
	}
	debug.SetGCPercent(atStart)
}

// LongRun is for a command that goes on for minutes, beside others on the same machine: it takes less memory
// for a little more work, unless GOGC says otherwise.
func LongRun() {
	if atStart == standard {
		debug.SetGCPercent(standard)
	}
}

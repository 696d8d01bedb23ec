package recovery

import "errors"

// ErrPartial ends a command that printed what it could and could not read, or not prove, the rest:
// exit code 3.
var ErrPartial = errors.New("some of it could not be read")

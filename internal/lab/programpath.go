package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// ProgramPath is the absolute path of a program that is there.
func ProgramPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(absolute)
	}
	if err != nil {
		return "", fmt.Errorf("lab: program %s: %w (make build)", path, err)
	}
	return absolute, nil
}

package safeguard

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEverySafeguardIsOnInANormalBuild(t *testing.T) {
	for name, on := range map[string]bool{
		"Fence": Fence, "UIDPrecondition": UIDPrecondition, "WaitForVolumes": WaitForVolumes, "WriteAhead": WriteAhead, "Retain": Retain, "Proof": Proof,
		"Secrets": Secrets, "Uninstall": Uninstall,
	} {
		require.True(t, on, name)
	}
}

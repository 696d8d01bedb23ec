package app

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
)

// TestCredentialsThere: the cluster's own Secret counts, whatever keys the operator's shell has.
func TestCredentialsThere(t *testing.T) {
	place := flip.Place{Namespace: "ns", Store: recovery.ObjectStore{
		AccessKeyID: recovery.SecretKey{Name: "s3", Key: "ID"}, SecretAccessKey: recovery.SecretKey{Name: "s3", Key: "KEY"},
	}}
	holding := func(values map[string]string) func(recovery.SecretKey) (string, error) {
		return func(key recovery.SecretKey) (string, error) {
			value, found := values[key.Key]
			if !found {
				return "", errors.New("it is not there")
			}
			return value, nil
		}
	}
	require.NoError(t, credentialsThere(place, holding(map[string]string{"ID": "a", "KEY": "b"})))
	require.NoError(t, credentialsThere(flip.Place{}, holding(nil)), "a role, and no keys")
	for _, values := range []map[string]string{nil, {"ID": "a"}, {"ID": "a", "KEY": ""}} {
		err := credentialsThere(place, holding(values))
		require.ErrorIs(t, err, recovery.ErrNotFound)
		var p *recovery.Problem
		require.ErrorAs(t, err, &p)
		require.Contains(t, p.Next, "get secret s3")
	}
}

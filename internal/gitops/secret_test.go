package gitops

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestSecretsOfThePlatform(t *testing.T) {
	tree, _ := platform(t)

	values, err := tree.Secret(t.Context(), "volsync-system", "kopia-credentials")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"KOPIA_PASSWORD": []byte("canary-kopia")}, values)

	_, err = tree.Secret(t.Context(), "cloudnative-pg", "cnpg-s3-credentials")
	require.ErrorIs(t, err, recovery.ErrUnsupported)
	require.Contains(t, err.Error(), "in secrets the value of AWS_ACCESS_KEY_ID is a placeholder (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")
	require.NotContains(t, err.Error(), "canary")
}

const manySecrets = `
-- plain.yaml --
apiVersion: v1
kind: Secret
metadata: {name: both, namespace: x}
data: {a: Y2FuYXJ5LWE=, b: b2xk}
stringData: {b: new}
---
apiVersion: v1
kind: Secret
metadata: {name: kopia-odd, namespace: x}
data: {KOPIA_PASSWORD: canary-not-base64!}
---
apiVersion: v1
kind: Secret
metadata: {name: number, namespace: x}
stringData: {PASSWORD: 4711}
---
apiVersion: v1
kind: Secret
metadata: {name: kopia-data, namespace: x}
data: {KOPIA_PASSWORD: change_me}
---
apiVersion: v1
kind: Secret
metadata: {name: kopia-flux, namespace: x}
stringData: {KOPIA_PASSWORD: "${KOPIA_PASSWORD}"}
---
apiVersion: v1
kind: Secret
metadata: {name: s3-vault, namespace: x}
stringData: {ACCESS_KEY_ID: "<path:secret/data/s3#id>"}
---
apiVersion: v1
kind: Secret
metadata: {name: encoded-placeholder, namespace: x}
data: {PASSWORD: Q0hBTkdFLU1F}
---
apiVersion: v1
kind: Secret
metadata: {name: twice, namespace: x}
stringData: {PASSWORD: CHANGE-ME}
---
apiVersion: v1
kind: Secret
metadata: {name: twice, namespace: x}
stringData: {PASSWORD: real}
-- sops/one.yaml --
apiVersion: v1
kind: Secret
metadata: {name: kopia-sops, namespace: x}
stringData: {KOPIA_PASSWORD: "ENC[AES256_GCM,data:canary,iv:x,tag:y,type:str]"}
sops: {version: 3.9.0}
-- external/es.yaml --
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: s3-from-vault, namespace: x}
spec: {target: {name: cnpg-s3-credentials}}
---
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {name: kopia-sealed, namespace: x}
spec: {encryptedData: {KOPIA_PASSWORD: canary}}
---
apiVersion: onepassword.com/v1
kind: OnePasswordItem
metadata: {name: item, namespace: x}
---
apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {name: v, namespace: x}
spec: {destination: {name: vaulted}}
-- generated/kustomization.yaml --
namespace: x
namePrefix: my-
secretGenerator:
  - {name: generated, literals: [KOPIA_PASSWORD=from-literal], envs: [values.env]}
  - {name: fixed, literals: [A=b], options: {disableNameSuffixHash: true}}
  - {name: enveloped, files: [kopia.enc]}
-- generated/values.env --
OTHER=from-file
-- generated/kopia.enc --
ENC[AES256_GCM,data:canary,iv:x]
`

func TestSecretValues(t *testing.T) {
	tree, gaps := open(t, manySecrets)
	require.Empty(t, gapTexts(gaps))
	tests := map[string]map[string]string{
		"both":         {"a": "canary-a", "b": "new"},
		"twice":        {"PASSWORD": "real"},
		"my-generated": {"KOPIA_PASSWORD": "from-literal", "OTHER": "from-file"},
		"my-fixed":     {"A": "b"},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			values, err := tree.Secret(t.Context(), "x", name)
			require.NoError(t, err)
			got := map[string]string{}
			for key, value := range values {
				got[key] = string(value)
			}
			require.Equal(t, want, got)
		})
	}
}

func TestSecretsThatNeedAVariable(t *testing.T) {
	const (
		forKopia = "(set KOPIA_PASSWORD, or give --password-file FILE)"
		forS3    = "(set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
		forBoth  = "(for Kopia set KOPIA_PASSWORD, or give --password-file FILE; for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
	)
	tree, _ := open(t, manySecrets)
	tests := map[string]struct {
		want error
		text string
		next string
	}{
		"kopia-odd":           {recovery.ErrDamaged, "in . the value of KOPIA_PASSWORD is not base64 or text", forKopia},
		"number":              {recovery.ErrDamaged, "the value of PASSWORD is not base64 or text", forBoth},
		"kopia-data":          {recovery.ErrUnsupported, "the value of KOPIA_PASSWORD is a placeholder", forKopia},
		"kopia-flux":          {recovery.ErrUnsupported, "is a placeholder", forKopia},
		"s3-vault":            {recovery.ErrUnsupported, "the value of ACCESS_KEY_ID is a placeholder", forS3},
		"encoded-placeholder": {recovery.ErrUnsupported, "is a placeholder", forBoth},
		"kopia-sops":          {recovery.ErrUnsupported, "in sops it is encrypted by SOPS", forKopia},
		"my-enveloped":        {recovery.ErrUnsupported, "in generated it is encrypted by SOPS", forKopia},
		"cnpg-s3-credentials": {recovery.ErrUnsupported, "only as ExternalSecret s3-from-vault (in external)", forS3},
		"kopia-sealed":        {recovery.ErrUnsupported, "only as SealedSecret kopia-sealed (in external)", forKopia},
		"item":                {recovery.ErrUnsupported, "only as OnePasswordItem item", forBoth},
		"vaulted":             {recovery.ErrUnsupported, "only as VaultStaticSecret v", forBoth},
		"none":                {recovery.ErrNotFound, "the tree has no such Secret", forBoth},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tree.Secret(t.Context(), "x", name)
			require.ErrorIs(t, err, test.want)
			require.Contains(t, err.Error(), "read Secret x/"+name+" from the GitOps tree: ")
			require.Contains(t, err.Error(), test.text)
			require.True(t, strings.HasSuffix(err.Error(), test.next), err.Error())
			require.NotContains(t, err.Error(), "canary")
		})
	}
	_, err := tree.Secret(t.Context(), "other", "both")
	require.ErrorIs(t, err, recovery.ErrNotFound, "the namespace counts")
}

func TestSecretInAFileThatIsEncryptedAsAWhole(t *testing.T) {
	tree, _ := open(t, "-- k/kustomization.yaml --\nresources: []\n-- k/all.enc.yaml --\napiVersion: ENC[AES256_GCM,data:x]\nkind: ENC[AES256_GCM,data:y]\nsops: {version: 3}\n")

	_, err := tree.Secret(t.Context(), "x", "kopia-credentials")

	require.ErrorIs(t, err, recovery.ErrUnsupported)
	require.Contains(t, err.Error(), "SOPS encrypted as a whole: k/all.enc.yaml")
}

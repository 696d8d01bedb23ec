package lab

import (
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// writeUsers gives each user a token, a line in the API server's token file, and a kubeconfig.
func (k *Kubernetes) writeUsers(users []string) error {
	k.tokens = map[string]string{}
	var lines strings.Builder
	for _, user := range append([]string{AdminUser}, users...) {
		if _, known := k.tokens[user]; known || user == "" || strings.ContainsAny(user, ",\"\n/") {
			return fmt.Errorf("lab: user %q: a name is given once and holds none of , \" / or a line break", user)
		}
		// A token is a secret like any other: it must never show up in output, so it is a canary.
		k.tokens[user] = "CANARY-TOKEN-" + rand.Text()
		fmt.Fprintf(&lines, "%s,%s,%s", k.tokens[user], user, user)
		if user == AdminUser {
			lines.WriteString(",system:masters")
		}
		lines.WriteString("\n")
		if err := k.writeKubeconfig(user); err != nil {
			return err
		}
	}
	if err := os.WriteFile(k.path("tokens.csv"), []byte(lines.String()), 0o600); err != nil {
		return fmt.Errorf("lab: write tokens: %w", err)
	}
	return nil
}

func (k *Kubernetes) writeKubeconfig(user string) error {
	const name = "lab"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: k.URL, CertificateAuthorityData: k.authority.PEM}
	config.AuthInfos[user] = &api.AuthInfo{Token: k.tokens[user]}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, k.path(user+".kubeconfig")); err != nil {
		return fmt.Errorf("lab: kubeconfig of %s: %w", user, err)
	}
	return nil
}

// KubeconfigFor is the path of a user's kubeconfig. Its token may do what RBAC gives that user and
// nothing else: without a binding, next to nothing.
func (k *Kubernetes) KubeconfigFor(user string) (string, error) {
	if _, err := k.RESTConfigFor(user); err != nil {
		return "", err
	}
	return k.path(user + ".kubeconfig"), nil
}

// Secrets are the values that must not appear in any output: the users' tokens.
func (k *Kubernetes) Secrets() []string {
	secrets := make([]string, 0, len(k.tokens))
	for _, token := range k.tokens {
		secrets = append(secrets, token)
	}
	slices.Sort(secrets)
	return secrets
}

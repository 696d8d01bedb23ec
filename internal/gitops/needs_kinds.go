package gitops

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// secretFields are the fields of CloudNativePG's kinds that name a Secret, as {name} or {name, key}.
// Source: cloudnative-pg api/v1/cluster_types.go, barman-cloud pkg/api/config.go.
func secretFields() []string {
	return []string{
		"accessKeyId", "secretAccessKey", "sessionToken", "region", "endpointCA", "connectionString", "storageAccount", "storageKey", "storageSasToken",
		"applicationCredentials", "password", "sslKey", "sslCert", "sslRootCert", "passwordSecret", "superuserSecret", "secret", "authQuerySecret", "bindPassword",
	}
}

// fieldReferences finds them wherever they stand.
func fieldReferences(object *unstructured.Unstructured, content map[string]any) []reference {
	var found []reference
	visitMaps(content, func(node map[string]any) {
		for _, field := range secretFields() {
			named, _ := node[field].(map[string]any)
			name := textOf(named, "name")
			if name == "" {
				continue
			}
			r := reference{object.GetNamespace(), name, nil, title(object), false}
			if key := textOf(named, "key"); key != "" {
				r.keys = []string{key}
			}
			if field == "secret" || field == "superuserSecret" || field == "passwordSecret" {
				r.keys = []string{"password", "username"} // of type kubernetes.io/basic-auth
			}
			found = append(found, r)
		}
		for _, field := range []string{"imagePullSecrets", "secretRefs", "customQueriesSecret"} {
			for _, r := range listed(object, node, field) {
				items, _ := node[field].([]any)
				for _, item := range items {
					if named, _ := item.(map[string]any); textOf(named, "name") == r.name && textOf(named, "key") != "" {
						r.keys = append(r.keys, textOf(named, "key"))
					}
				}
				found = append(found, r)
			}
		}
	})
	return found
}

// clusterReferences are those of a Cluster, with certificates that somebody else has to make.
func clusterReferences(object *unstructured.Unstructured, content map[string]any) []reference {
	found := fieldReferences(object, content)
	certificates, _ := content["certificates"].(map[string]any)
	for _, field := range []string{"serverCASecret", "serverTLSSecret", "replicationTLSSecret", "clientCASecret"} {
		if name := textOf(certificates, field); name != "" {
			found = append(found, reference{object.GetNamespace(), name, nil, title(object), false})
		}
	}
	return found
}

// issuerReferences are those of cert-manager's issuers and of the stores of external-secrets: fields called …SecretRef
// and secretRef. privateKeySecretRef names what cert-manager makes. What a ClusterIssuer names is in cert-manager's own
// namespace. Source: cert-manager pkg/apis/certmanager/v1/types_issuer.go, external-secrets apis/externalsecrets/v1.
func issuerReferences(object *unstructured.Unstructured, content map[string]any) []reference {
	kind := object.GetKind()
	if !strings.HasSuffix(kind, "Issuer") && !strings.HasSuffix(kind, "SecretStore") {
		return nil
	}
	namespace := object.GetNamespace()
	if kind == "ClusterIssuer" {
		namespace = "cert-manager"
	}
	var found []reference
	visitMaps(content, func(node map[string]any) {
		for field, value := range node {
			named, _ := value.(map[string]any)
			name := textOf(named, "name")
			if name == "" || field == "privateKeySecretRef" || !strings.HasSuffix(strings.ToLower(field), "secretref") && !isStoreField(kind, field) {
				continue
			}
			r := reference{firstOf(textOf(named, "namespace"), namespace), name, nil, title(object), false}
			if key := textOf(named, "key"); key != "" {
				r.keys = []string{key}
			}
			found = append(found, r)
		}
	})
	slices.SortFunc(found, func(x, y reference) int { return strings.Compare(x.name, y.name) })
	return found
}

// isStoreField: stores name the parts of their credentials by fields of their own, below secretRef.
func isStoreField(kind, field string) bool {
	return strings.HasSuffix(kind, "SecretStore") && slices.Contains([]string{
		"accessKeyIDSecretRef", "secretAccessKeySecretRef", "clientId", "clientSecret", "accessToken", "connectTokenSecretRef", "token", "secretAccessKey", "accessKey",
	}, field)
}

// certificateReferences are the TLS Secrets of an Ingress or a Gateway, unless cert-manager is told to make them.
// Source: cert-manager pkg/controller/certificate-shim/sync.go.
func certificateReferences(object *unstructured.Unstructured, content map[string]any) []reference {
	for name := range object.GetAnnotations() {
		if name == "cert-manager.io/issuer" || name == "cert-manager.io/cluster-issuer" || name == "kubernetes.io/tls-acme" {
			return nil
		}
	}
	var found []reference
	add := func(namespace, name string) {
		if name != "" {
			found = append(found, reference{firstOf(namespace, object.GetNamespace()), name, []string{"tls.crt", "tls.key"}, title(object), false})
		}
	}
	for _, item := range listOf(content, "tls") {
		add("", textOf(item, "secretName"))
	}
	for _, listener := range listOf(content, "listeners") {
		settings, _ := listener["tls"].(map[string]any)
		for _, certificate := range listOf(settings, "certificateRefs") {
			if kind := textOf(certificate, "kind"); kind == "" || kind == "Secret" {
				add(textOf(certificate, "namespace"), textOf(certificate, "name"))
			}
		}
	}
	return found
}

func listOf(node map[string]any, field string) []map[string]any {
	items, _ := node[field].([]any)
	var found []map[string]any
	for _, item := range items {
		if content, isMap := item.(map[string]any); isMap {
			found = append(found, content)
		}
	}
	return found
}

// moverReferences is the repository's Secret of a ReplicationSource or ReplicationDestination: every mover names it so.
func moverReferences(object *unstructured.Unstructured, content map[string]any) []reference {
	for _, mover := range []string{"kopia", "restic"} {
		settings, _ := content[mover].(map[string]any)
		if name := textOf(settings, "repository"); name != "" {
			return []reference{{object.GetNamespace(), name, nil, title(object), false}}
		}
	}
	return nil
}

// policyReferences are the Secrets that Kyverno's policies copy, or read. Which keys are read stands in expressions
// like CONTEXT.data.KEY. Source: kyverno api/kyverno/v1/rule_types.go, context_entry_types.go.
func policyReferences(object *unstructured.Unstructured) []reference {
	var found []reference
	add := func(namespace, name string, keys []string) {
		if namespace != "" && name != "" && !strings.Contains(namespace+name, "{{") {
			found = append(found, reference{namespace, name, keys, title(object), false})
		}
	}
	encoded, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return nil // what was read from YAML is JSON
	}
	text := string(encoded)
	visitMaps(object.Object["spec"], func(node map[string]any) {
		generate, _ := node["generate"].(map[string]any)
		if clone, _ := generate["clone"].(map[string]any); textOf(generate, "kind") == "Secret" {
			add(textOf(clone, "namespace"), textOf(clone, "name"), nil)
		}
		call, _ := node["apiCall"].(map[string]any)
		if match := regexp.MustCompile(`^/api/v1/namespaces/([^/]+)/secrets/([^/?]+)$`).FindStringSubmatch(textOf(call, "urlPath")); match != nil {
			add(match[1], match[2], keysRead(text, textOf(node, "name")))
		}
	})
	for _, match := range regexp.MustCompile(`resource\.Get\(\s*\\?["']v1\\?["']\s*,\s*\\?["']secrets\\?["']\s*,\s*\\?["']([^"'\\]+)\\?["']\s*,\s*\\?["']([^"'\\]+)\\?["']`).FindAllStringSubmatch(text, -1) {
		add(match[1], match[2], nil)
	}
	return found
}

// keysRead are the keys that expressions take out of a context entry's data.
func keysRead(text, entry string) []string {
	if entry == "" {
		return nil
	}
	var keys []string
	for _, match := range regexp.MustCompile(regexp.QuoteMeta(entry)+`\.data\.([A-Za-z0-9_-]+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(keys, match[1]) {
			keys = append(keys, match[1])
		}
	}
	return keys
}

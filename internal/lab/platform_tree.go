package lab

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"text/template"
)

// platformFiles are the manifests of the platform as templates: the GitOps tree, and one Secret in
// each form.
//
//go:embed platform
var platformFiles embed.FS

// SecretForm is how a GitOps tree holds its Secrets.
type SecretForm string

// The forms. Only SecretsPlain gives a reader the values.
const (
	SecretsPlain       SecretForm = "plain"
	SecretsPlaceholder SecretForm = "placeholder"
	SecretsExternal    SecretForm = "external"
	SecretsSealed      SecretForm = "sealed"
	SecretsSOPS        SecretForm = "sops"
)

// SecretForms is every form.
func SecretForms() []SecretForm {
	return []SecretForm{SecretsPlain, SecretsPlaceholder, SecretsExternal, SecretsSealed, SecretsSOPS}
}

// WriteTree writes the platform's GitOps tree into dir, which is made when it is not there.
func (p Platform) WriteTree(dir string, form SecretForm) error {
	const root = "platform/tree"
	err := fs.WalkDir(platformFiles, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, filepath.FromSlash(name))
		if err != nil {
			return err
		}
		return renderFile(name, filepath.Join(dir, relative), p)
	})
	if err != nil {
		return fmt.Errorf("lab: write the GitOps tree: %w", err)
	}
	for _, secret := range p.secrets() {
		target := filepath.Join(dir, "secrets", secret.Namespace, secret.Name+".yaml")
		if err := renderFile("platform/secrets/"+string(form)+".yaml", target, secret); err != nil {
			return fmt.Errorf("lab: write the GitOps tree: %w", err)
		}
	}
	return nil
}

func renderFile(name, target string, data any) error {
	content, err := render(name, data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o600)
}

// render executes one of the embedded templates.
func render(name string, data any) ([]byte, error) {
	text, err := platformFiles.ReadFile(name)
	if err != nil {
		return nil, err
	}
	parsed, err := template.New(path.Base(name)).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, data)
	return out.Bytes(), err
}

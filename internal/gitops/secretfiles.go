package gitops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// SecretFile is a Secret of a folder that is no part of any kustomization.
type SecretFile struct {
	// File is relative to the folder, with slashes.
	File            string
	Namespace, Name string
	Type            string
	Labels          map[string]string
	Annotations     map[string]string
	Values          map[string][]byte
}

// SecretFiles reads the Secrets below a folder, in the order of its files: whatever else stands there is left out.
// One without a namespace, twice the same one, or one that SOPS encrypted is an error that quotes no value. Values
// that were never filled in are given as they stand.
func SecretFiles(ctx context.Context, dir string) ([]SecretFile, error) {
	root, err := rootOf(dir)
	if err != nil {
		return nil, err
	}
	found := []SecretFile{}
	where := map[string]string{}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if extension := filepath.Ext(path); entry.IsDir() || extension != ".yaml" && extension != ".yml" && extension != ".json" {
			return nil
		}
		objects, err := readManifests(root, path)
		if err != nil {
			return err
		}
		for i := range objects {
			file, err := secretFile(&objects[i], relative(root, path))
			if err != nil || file == nil {
				return err
			}
			name := file.Namespace + "/" + file.Name
			if where[name] != "" {
				return badSecret(file, "it stands in "+where[name]+" too", "leave one of them")
			}
			where[name] = file.File
			found = append(found, *file)
		}
		return nil
	})
	var problem *recovery.Problem
	if err != nil && !errors.As(err, &problem) {
		err = fmt.Errorf("read the Secrets of %s: %w", dir, err)
	}
	return found, err
}

// secretFile reads one object; nil for what is no Secret.
func secretFile(object *unstructured.Unstructured, file string) (*SecretFile, error) {
	if object.GetKind() != "Secret" || object.GetAPIVersion() != "v1" {
		return nil, nil
	}
	secret := &SecretFile{
		File: file, Namespace: object.GetNamespace(), Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations(), Values: map[string][]byte{},
	}
	secret.Type, _, _ = unstructured.NestedString(object.Object, "type")
	if secret.Namespace == "" {
		return nil, badSecret(secret, "it names no namespace", "add metadata.namespace")
	}
	plain, _ := object.Object["stringData"].(map[string]any)
	encoded, _ := object.Object["data"].(map[string]any)
	for key, value := range encoded {
		decoded, isValue := decodeValue(value)
		if !isValue {
			return nil, badSecret(secret, "the value of data."+key+" is not base64", "correct it, or write it under stringData")
		}
		secret.Values[key] = decoded
	}
	for key, value := range plain {
		text, isText := value.(string)
		if !isText {
			return nil, badSecret(secret, "the value of stringData."+key+" is no text", "put it into quotes")
		}
		secret.Values[key] = []byte(text)
	}
	for _, value := range secret.Values {
		if isEncrypted(value) || object.Object["sops"] != nil {
			return nil, badSecret(secret, "SOPS encrypted it", "decrypt it first: sops -d "+strings.TrimPrefix(file, "./"))
		}
	}
	return secret, nil
}

func badSecret(secret *SecretFile, why, next string) error {
	return &recovery.Problem{
		What: fmt.Sprintf("read Secret %s/%s in %s", secret.Namespace, secret.Name, secret.File), Why: why, Next: next, Err: recovery.ErrDamaged,
	}
}

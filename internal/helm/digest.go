package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// digest is over the names and contents of a chart's files. Packaging writes Chart.yaml and Chart.lock anew, and unpacks
// charts that are in charts/ as archives; so of those the meaning counts, and not the bytes.
// Source: helm pkg/chart/v2/util/save.go.
func digest(loaded *chart.Chart) (string, error) {
	sum := sha256.New()
	if err := addChart(sum, "", loaded); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func addChart(sum hash.Hash, prefix string, loaded *chart.Chart) error {
	metadata, err := json.Marshal(loaded.Metadata)
	if err != nil {
		return fmt.Errorf("digest of Chart.yaml: %w", err)
	}
	addFile(sum, prefix+"Chart.yaml", metadata)
	if loaded.Lock != nil {
		lock, err := json.Marshal(loaded.Lock.Dependencies)
		if err != nil {
			return fmt.Errorf("digest of Chart.lock: %w", err)
		}
		addFile(sum, prefix+"Chart.lock", lock)
	}
	files := slices.Clone(loaded.Raw)
	slices.SortFunc(files, func(a, b *common.File) int { return strings.Compare(a.Name, b.Name) })
	for _, file := range files {
		if !rewritten(file.Name) {
			addFile(sum, prefix+file.Name, file.Data)
		}
	}
	dependencies := slices.Clone(loaded.Dependencies())
	slices.SortFunc(dependencies, func(a, b *chart.Chart) int { return strings.Compare(a.Name(), b.Name()) })
	for _, dependency := range dependencies {
		if err := addChart(sum, prefix+"charts/"+dependency.Name()+"/", dependency); err != nil {
			return err
		}
	}
	return nil
}

// rewritten are the files that packaging writes anew, or leaves out.
func rewritten(name string) bool {
	switch name {
	case "Chart.yaml", "Chart.lock", "requirements.yaml", "requirements.lock":
		return true
	}
	return strings.HasPrefix(name, "charts/")
}

// addFile adds lengths too, so that no two sets of files run together into the same bytes.
func addFile(sum hash.Hash, name string, content []byte) {
	_, _ = fmt.Fprintf(sum, "%d %s %d ", len(name), name, len(content))
	_, _ = sum.Write(content)
}

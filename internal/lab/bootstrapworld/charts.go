package bootstrapworld

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// The versions of the chart in the world's repository.
const (
	// ChartVersion is the one that the tree pins, OldChartVersion one before it.
	ChartVersion    = lab.ArgoChartNext
	OldChartVersion = lab.ArgoChartFirst
)

// startCharts serves the chart in each version over HTTP. The world's own chart is small, and so are its definitions:
// a matrix installs it hundreds of times.
func (w *World) startCharts(ctx context.Context) error {
	dir, err := w.Stack.Dir("charts")
	if err != nil {
		return err
	}
	var folders []string
	for _, version := range []string{OldChartVersion, ChartVersion} {
		folder := filepath.Join(dir, version, lab.ArgoChartName)
		if w.options.FullChart {
			if folder, err = lab.ArgoChart(ctx, dir, version); err != nil {
				return err
			}
		} else if err := write("chart", folder, strings.NewReplacer("CHART_VERSION", version)); err != nil {
			return err
		}
		folders = append(folders, folder)
	}
	if w.Charts, err = w.Stack.ChartRepository(ctx, folders...); err != nil {
		return err
	}
	return w.relativeIndex()
}

// relativeIndex has the index name the archives beside it, as many repositories do: whoever reads it through a proxy
// fetches them through the proxy, too.
func (w *World) relativeIndex() error {
	index := filepath.Join(w.Charts.Dir, "index.yaml")
	content, err := os.ReadFile(index)
	if err != nil {
		return fmt.Errorf("bootstrapworld: index of the charts: %w", err)
	}
	text := strings.ReplaceAll(string(content), w.Charts.URL+"/", "")
	if err := os.WriteFile(index, []byte(text), 0o644); err != nil {
		return fmt.Errorf("bootstrapworld: index of the charts: %w", err)
	}
	return nil
}

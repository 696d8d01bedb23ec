package bootstrap

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
)

// stops end what start began, in the opposite order.
var (
	stopsMu sync.Mutex //nolint:gochecknoglobals // of the one world
	stops   []func()   //nolint:gochecknoglobals // of the one world
)

func stopAll() {
	stopsMu.Lock()
	defer stopsMu.Unlock()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
}

func start() *shared {
	s := &shared{folders: map[string]string{}}
	s.err = s.up(context.Background())
	return s
}

func (s *shared) up(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "drctl-bootstrap-")
	if err != nil {
		return err
	}
	stack := lab.NewStack(dir, func(format string, args ...any) { fmt.Printf(format+"\n", args...) }) //nolint:forbidigo // of a test
	stopsMu.Lock()
	stops = append(stops, func() { _ = os.RemoveAll(dir) }, func() { _ = stack.Close() })
	stopsMu.Unlock()
	program, err := bootstrapworld.Build(ctx, dir)
	if err != nil {
		return err
	}
	if s.world, err = bootstrapworld.Up(ctx, stack, bootstrapworld.Options{Interval: 500 * time.Millisecond, Program: program, FullChart: true}); err != nil {
		return err
	}
	if s.client, err = kubernetes.NewForConfig(s.world.Kubernetes.RESTConfig()); err != nil {
		return err
	}
	for _, version := range []string{lab.ArgoChartFirst, lab.ArgoChartNext, lab.ArgoChartBroken, lab.ArgoChartBrokenHook} {
		if s.folders[version], err = lab.ArgoChart(ctx, dir, version); err != nil {
			return err
		}
	}
	registry, err := stack.ChartRegistry(ctx, s.folders[lab.ArgoChartFirst], s.folders[lab.ArgoChartNext])
	if err != nil {
		return err
	}
	s.oci = registry.Location
	return nil
}

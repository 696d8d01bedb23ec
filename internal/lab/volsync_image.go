package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// moverScript is what the mover's container runs.
//
//go:embed volsync_entry.sh
var moverScript []byte

// MoverImage stands for the image of VolSync's Kopia movers: Kopia's real command line, a program that uses it
// as the mover does, and the orders of a test.
type MoverImage struct{ folder string }

// MoverImage prepares the image for NodeOptions.Mover and Stack.VolSync.
func (s *Stack) MoverImage(ctx context.Context) (*MoverImage, error) {
	if _, err := exec.LookPath("jq"); err != nil {
		return nil, missingPackages([]string{"jq"})
	}
	program, err := Build(ctx, KopiaCLI, s.logf)
	if err != nil {
		return nil, err
	}
	folder, err := s.Dir("mover-kopia")
	if err != nil {
		return nil, err
	}
	orders := filepath.Join(folder, "orders")
	if err := os.MkdirAll(orders, 0o755); err != nil {
		return nil, fmt.Errorf("lab: image of the movers: %w", err)
	}
	// A mover counts its failures there, as whichever user it runs.
	if err := os.Chmod(orders, 0o777); err != nil {
		return nil, fmt.Errorf("lab: image of the movers: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "entry.sh"), moverScript, 0o755); err != nil {
		return nil, fmt.Errorf("lab: image of the movers: %w", err)
	}
	// A copy: what a mount shows is a folder, and the program may be on another file system.
	if err := copyTree(ctx, program, filepath.Join(folder, "kopia")); err != nil {
		return nil, err
	}
	return &MoverImage{folder}, nil
}

// Folder is what movers have at /mover-kopia.
func (m *MoverImage) Folder() string { return m.folder }

// Order is how a mover, or VolSync for it, is to behave instead of well.
type Order string

// The orders. Each is one that VolSync or its mover has been seen, or was read, to do by itself.
const (
	// OrderNothing: the mover's listing finds nothing, and it succeeds with nothing restored.
	OrderNothing Order = "nothing"
	// OrderHang: the mover runs until the order changes.
	OrderHang Order = "hang"
	// OrderSwallow: the run is reported as complete without a mover, as when a trigger comes while another
	// run ends.
	OrderSwallow Order = "swallow"
	// OrderNotPopulated: the populator never takes up a claim from this destination.
	OrderNotPopulated Order = "not-populated"
)

// OrderFail makes the next attempts fail, each a Pod.
func OrderFail(times int) Order { return Order(fmt.Sprintf("fail %d", times)) }

// OrderWait makes the mover wait before it works.
func OrderWait(d time.Duration) Order { return Order(fmt.Sprintf("wait %.1f", d.Seconds())) }

// AnyName is every object of a namespace that has no order of its own.
const AnyName = "@any"

// Order gives a ReplicationSource or ReplicationDestination (kind) an order; an empty one takes it back. It may
// be given before the object is there, and changed while the mover runs.
func (v *VolSync) Order(kind, namespace, name string, order Order) error {
	path := filepath.Join(v.image.folder, "orders", orderFile(kind, namespace, name))
	err := os.Remove(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lab: order for %s %s/%s: %w", kind, namespace, name, err)
	}
	if order == "" {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(order), 0o666); err != nil {
		return fmt.Errorf("lab: order for %s %s/%s: %w", kind, namespace, name, err)
	}
	if err := os.Chmod(path+".new", 0o666); err != nil {
		return fmt.Errorf("lab: order for %s %s/%s: %w", kind, namespace, name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("lab: order for %s %s/%s: %w", kind, namespace, name, err)
	}
	v.queue.Add(kind + "/" + namespace + "/" + name)
	return nil
}

// ordered is the order that an object is under, empty for none.
func (v *VolSync) ordered(kind, namespace, name string) Order {
	for _, file := range orderFiles(kind, namespace, name) {
		if content, err := os.ReadFile(filepath.Join(v.image.folder, "orders", file)); err == nil {
			return Order(strings.TrimSpace(string(content)))
		}
	}
	return ""
}

func orderFiles(kind, namespace, name string) []string {
	return []string{orderFile(kind, namespace, name), orderFile(kind, namespace, AnyName)}
}

func orderFile(kind, namespace, name string) string { return kind + "_" + namespace + "_" + name }

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestBadArguments(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"none":            {nil, "drlab build"},
		"unknown command": {[]string{"down"}, "drlab up"},
		"unknown part":    {[]string{"build", "kubelet"}, `no part is called "kubelet": there are controlplane`},
		"unknown flag":    {[]string{"up", "-x"}, "up takes -env FILE and nothing else"},
		"stray argument":  {[]string{"up", "now"}, "up takes -env FILE and nothing else"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			require.ErrorContains(t, run(t.Context(), test.args, &stdout, io.Discard), test.want)
			require.Empty(t, stdout.String())
		})
	}
}

// TestUp goes the way of a person: the variables that the command offers lead to a cluster with the
// platform in it, and Ctrl-C leaves nothing behind.
func TestUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	environment := filepath.Join(t.TempDir(), "lab.env")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"up", "-env", environment}, &stdout, &stderr) }()

	kubeconfig := waitForVariable(t, environment, "KUBECONFIG", ended)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = client.CoreV1().PersistentVolumeClaims("karakeep").Get(t.Context(), "data-pvc", metav1.GetOptions{})
	require.NoError(t, err)

	interrupt()
	require.NoError(t, <-ended)
	require.Contains(t, stdout.String(), "drctl pvc list --offline")
	require.Contains(t, stderr.String(), "stopping the lab")
	require.NoFileExists(t, kubeconfig)
	_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	require.ErrorContains(t, err, "refused")
}

// waitForVariable waits for the file of variables; its writing is the last thing before the lab waits.
func waitForVariable(t *testing.T, file, name string, ended chan error) string {
	t.Helper()
	for {
		select {
		case err := <-ended:
			t.Fatalf("drlab up ended early: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		content, err := os.ReadFile(file)
		if match := regexp.MustCompile(`export ` + name + `='(.*)'`).FindSubmatch(content); err == nil && match != nil {
			return string(match[1])
		}
	}
}

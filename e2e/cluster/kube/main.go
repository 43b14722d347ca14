// The programs of a test cluster in one: each component of Kubernetes, and kubectl, from its own package, and a small DNS. It
// runs as the one whose name it is called by; `kube NAME ...` does the same without a link.
package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// Logs as JSON, and metrics of client and version: the components link them in their own programs too.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// program makes the command of the component with this name; nil if there is none.
func program(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return manager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kubectl":
		return kubectl.NewDefaultKubectlCommand()
	case "kube-dns":
		return newDNSCommand()
	case "helm":
		return newHelmCommand()
	}
	return nil
}

// newHelmCommand makes Helm's command. It reads the command line while it is made, as plugins and defaults depend on it.
func newHelmCommand() *cobra.Command {
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return command
}

func main() {
	names := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "kube-dns", "helm"}
	if !slices.Contains(names, path.Base(os.Args[0])) {
		os.Args = os.Args[1:]
	}
	if len(os.Args) == 0 || !slices.Contains(names, path.Base(os.Args[0])) {
		fmt.Fprintf(os.Stderr, "name one of %s, then its flags\n", strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(cli.Run(program(path.Base(os.Args[0]))))
}

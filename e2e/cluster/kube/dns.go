package main

import (
	"context"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/dns/dnsmessage"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// domain is where Services have their names.
const domain = ".svc.cluster.local."

// names answers for Services from what the API server says, as the cluster's DNS: the part of it that Pods of the tests use.
// It knows IPv4 addresses of Services, of the Pods behind headless ones, and of such Pods by their host name; UDP alone.
type names struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

func newDNSCommand() *cobra.Command {
	var kubeconfig, listen string
	command := &cobra.Command{Use: "kube-dns", Short: "Names of Services", Args: cobra.NoArgs}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "who to ask")
	command.Flags().StringVar(&listen, "listen", "127.0.0.1:53", "where to answer")
	command.RunE = func(command *cobra.Command, _ []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		factory := informers.NewSharedInformerFactory(client, 0)
		names := names{factory.Core().V1().Services().Lister(), factory.Discovery().V1().EndpointSlices().Lister()}
		factory.Start(command.Context().Done())
		factory.WaitForCacheSync(command.Context().Done())
		return names.serve(command.Context(), listen)
	}
	return command
}

func (names names) serve(ctx context.Context, listen string) error {
	socket, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	packet := make([]byte, 4096)
	for {
		size, from, err := socket.ReadFrom(packet)
		if err != nil {
			return err
		}
		if answer, err := names.answer(packet[:size]); err == nil {
			_, _ = socket.WriteTo(answer, from)
		}
	}
}

// answer packs the answer to one question; packets that are none are an error.
func (names names) answer(packet []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	addresses, known := names.lookup(strings.ToLower(question.Name.String()))
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired},
		Questions: []dnsmessage.Question{question},
	}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	if question.Type == dnsmessage.TypeA {
		for _, address := range addresses {
			if ip := net.ParseIP(address).To4(); ip != nil {
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte(ip)},
				})
			}
		}
	}
	return reply.Pack()
}

// lookup finds the addresses of a name, and whether there is such a name at all.
func (names names) lookup(name string) ([]string, bool) {
	inside, ours := strings.CutSuffix(name, domain)
	parts := strings.Split(inside, ".")
	if !ours || len(parts) < 2 || len(parts) > 3 {
		return nil, false
	}
	namespace, of := parts[len(parts)-1], parts[len(parts)-2]
	service, err := names.services.Services(namespace).Get(of)
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != core.ClusterIPNone {
		return []string{service.Spec.ClusterIP}, len(parts) == 2
	}
	host := ""
	if len(parts) == 3 {
		host = parts[0]
	}
	addresses := names.endpoints(service, host)
	return addresses, host == "" || len(addresses) > 0
}

// endpoints are the Pods behind a headless Service that are ready, or all if it says so; with a host name that Pod alone.
func (names names) endpoints(service *core.Service, host string) []string {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service.Name})
	slices, err := names.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return nil
	}
	var addresses []string
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			called := host == "" || (endpoint.Hostname != nil && *endpoint.Hostname == host)
			if called && (ready || service.Spec.PublishNotReadyAddresses) {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	return addresses
}

"""ActiveMQ Classic, with STOMP over TCP, TLS and WebSocket, log-in and permissions."""
import os
import re

from .jvm import KEYSTORE_PASSWORD, LIMITED, LOG4J, USER, JavaBroker, make_keystores
from .stomp_judge import StompJudge

VERSION = "5.18.3"
NUMBER = rb"<string>%s</string>\s*<long>(\d+)</long>"

# Without journalDiskSyncStrategy="always" a message waits in the broker's memory for a while after its RECEIPT. Queues do not
# stop their producers: what does not fit into memory stays on the disk alone, and no queue takes it all.
SETTINGS = """\
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="rig" dataDirectory="{folder}/data" schedulerSupport="true"
          useShutdownHook="true" advisorySupport="true">
    <destinationPolicy><policyMap><policyEntries>
      <policyEntry queue=">" producerFlowControl="false" memoryLimit="4mb">
        <deadLetterStrategy>
          <individualDeadLetterStrategy queuePrefix="DLQ." useQueueForQueueMessages="true" processNonPersistent="true"/>
        </deadLetterStrategy>
      </policyEntry>
    </policyEntries></policyMap></destinationPolicy>
    <managementContext><managementContext createConnector="false"/></managementContext>
    <persistenceAdapter>
      <kahaDB directory="{folder}/data/kahadb" journalMaxFileLength="16mb" preallocationStrategy="sparse_file"
              journalDiskSyncStrategy="always"/>
    </persistenceAdapter>
    <plugins>
      <simpleAuthenticationPlugin anonymousAccessAllowed="false"><users>
        <authenticationUser username="{user[0]}" password="{user[1]}" groups="users"/>
        <authenticationUser username="{limited[0]}" password="{limited[1]}" groups="limited"/>
      </users></simpleAuthenticationPlugin>
      <authorizationPlugin><map><authorizationMap><authorizationEntries>
        <authorizationEntry queue=">" read="users" write="users" admin="users"/>
        <authorizationEntry topic=">" read="users" write="users" admin="users"/>
        <authorizationEntry queue="limited.>" read="limited" write="limited" admin="limited"/>
        <authorizationEntry topic="ActiveMQ.Advisory.>" read="limited" write="limited" admin="limited"/>
      </authorizationEntries></authorizationMap></map></authorizationPlugin>
      <statisticsBrokerPlugin/>
    </plugins>
    <sslContext><sslContext keyStore="file:{keys}" keyStoreType="PKCS12" keyStorePassword="{password}"
      trustStore="file:{trust}" trustStoreType="PKCS12" trustStorePassword="{password}"/></sslContext>
    <systemUsage><systemUsage>
      <memoryUsage><memoryUsage limit="64 mb"/></memoryUsage>
      <storeUsage><storeUsage limit="4 gb"/></storeUsage>
      <tempUsage><tempUsage limit="256 mb"/></tempUsage>
      <jobSchedulerUsage><jobSchedulerUsage limit="256 mb"/></jobSchedulerUsage>
    </systemUsage></systemUsage>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:{stomp}"/>
      <transportConnector name="stomp+ssl" uri="stomp+ssl://127.0.0.1:{stomps}"/>
      <transportConnector name="stomp+mtls" uri="stomp+ssl://127.0.0.1:{mtls}?needClientAuth=true"/>
      <transportConnector name="ws" uri="ws://127.0.0.1:{ws}"/>
      <transportConnector name="wss" uri="wss://127.0.0.1:{wss}"/>
    </transportConnectors>
  </broker>
</beans>
"""


class ActiveMQ(JavaBroker):
    def __init__(self, rig, folder, cache):
        super().__init__("ActiveMQ", os.path.join(cache, f"activemq-{VERSION}"), folder, rig.free_port())
        self.stomps_port, self.mtls_port, self.ws_port, self.wss_port = (rig.free_port() for _ in range(4))
        self.stomp = StompJudge("activemq", self.stomp_port, *USER, counter=self.count, transaction=500)
        keys, trust = make_keystores(rig.certificates())
        self.write(**{"log4j2.properties": LOG4J, "activemq.xml": SETTINGS.format(
            folder=folder, user=USER, limited=LIMITED, keys=keys, trust=trust, password=KEYSTORE_PASSWORD,
            stomp=self.stomp_port, stomps=self.stomps_port, mtls=self.mtls_port, ws=self.ws_port, wss=self.wss_port)})

    def arguments(self):
        home, base = self.home, self.folder
        opens = [word for package in ("lang", "util") for word in ("--add-opens", f"java.base/java.{package}=ALL-UNNAMED")]
        return [*opens, f"-Dactivemq.home={home}", f"-Dactivemq.base={base}", f"-Dactivemq.conf={base}/etc",
                f"-Dactivemq.data={base}/data", f"-Dactivemq.classpath={base}/etc", "-jar", f"{home}/bin/activemq.jar", "start",
                f"xbean:file:{base}/etc/activemq.xml"]

    def ask(self, queue, what):
        """A number of the statistics plug-in's. None if there is no such queue."""
        answer = self.stomp.ask(f"/queue/ActiveMQ.Statistics.Destination.{queue}", "/temp-queue/answers",
                                {"ActiveMQ.Statistics.Destination.List.End.With.Null": "true"})
        number = re.search(NUMBER % what, answer.body)
        return int(number.group(1)) if number else None

    def size(self, queue):
        """Messages in the queue, those that a consumer has too. None if there is no such queue."""
        return self.ask(queue, b"size")

    def count(self, queue):
        return self.size(queue) or 0

    def unsettled(self, queue):
        """Messages that a consumer has and has not acknowledged."""
        return self.ask(queue, b"inflightCount") or 0

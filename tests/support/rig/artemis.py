"""Artemis, with STOMP over TCP, TLS and WebSocket (an acceptor takes plain sockets and WebSocket alike), log-in and roles."""
import json
import os

from .jvm import KEYSTORE_PASSWORD, LIMITED, LOG4J, USER, JavaBroker, make_keystores
from .stomp_judge import StompJudge

VERSION = "2.40.0"
RIGHTS = ("createNonDurableQueue", "deleteNonDurableQueue", "createDurableQueue", "deleteDurableQueue", "createAddress",
          "deleteAddress", "consume", "browse", "send", "manage")

# An address that pages (it, or all of them, are beyond their limit) gives messages out of order: the limits are above what the stories
# put there. By default Artemis also refuses all messages while the disk is nine tenths full, whoever fills it.
# Prefixes make /queue/x an anycast and /topic/x a multicast address x; without them every SEND is multicast.
STOMP = "protocols=STOMP;anycastPrefix=/queue/;multicastPrefix=/topic/"
SETTINGS = """\
<configuration xmlns="urn:activemq">
  <core xmlns="urn:activemq:core">
    <name>rig</name>
    <persistence-enabled>true</persistence-enabled>
    <journal-type>NIO</journal-type>
    <paging-directory>{folder}/data/paging</paging-directory>
    <bindings-directory>{folder}/data/bindings</bindings-directory>
    <journal-directory>{folder}/data/journal</journal-directory>
    <large-messages-directory>{folder}/data/large-messages</large-messages-directory>
    <journal-datasync>true</journal-datasync>
    <journal-min-files>2</journal-min-files>
    <journal-pool-files>4</journal-pool-files>
    <journal-file-size>10M</journal-file-size>
    <journal-buffer-timeout>200000</journal-buffer-timeout>
    <global-max-size>384M</global-max-size>
    <max-disk-usage>-1</max-disk-usage>
    <critical-analyzer>false</critical-analyzer>
    <page-sync-timeout>200000</page-sync-timeout>
    <acceptors>
      <acceptor name="stomp">tcp://127.0.0.1:{stomp}?{options}</acceptor>
      <acceptor name="stomps">tcp://127.0.0.1:{stomps}?{options};{tls}</acceptor>
      <acceptor name="mtls">tcp://127.0.0.1:{mtls}?{options};{tls};needClientAuth=true</acceptor>
    </acceptors>
    <security-settings>
      <security-setting match="#">{users}</security-setting>
      <security-setting match="limited.#">{both}</security-setting>
    </security-settings>
    <address-settings>
      <address-setting match="#">
        <dead-letter-address>DLQ</dead-letter-address>
        <expiry-address>DLQ</expiry-address>
        <auto-create-dead-letter-resources>true</auto-create-dead-letter-resources>
        <redelivery-delay>0</redelivery-delay>
        <max-delivery-attempts>10</max-delivery-attempts>
        <max-size-bytes>128M</max-size-bytes>
        <page-size-bytes>2M</page-size-bytes>
        <address-full-policy>PAGE</address-full-policy>
        <auto-create-queues>true</auto-create-queues>
        <auto-delete-queues>false</auto-delete-queues>
        <auto-delete-addresses>false</auto-delete-addresses>
      </address-setting>
      <address-setting match="closed.#">
        <auto-create-queues>false</auto-create-queues>
        <auto-create-addresses>false</auto-create-addresses>
      </address-setting>
      <address-setting match="small.#">
        <max-size-bytes>40K</max-size-bytes>
        <page-size-bytes>10K</page-size-bytes>
        <address-full-policy>FAIL</address-full-policy>
      </address-setting>
    </address-settings>
  </core>
</configuration>
"""
BOOTSTRAP = """\
<broker xmlns="http://activemq.apache.org/schema">
  <jaas-security domain="activemq"/>
  <server configuration="file:{folder}/etc/broker.xml"/>
</broker>
"""
MANAGEMENT = """\
<management-context xmlns="http://activemq.apache.org/schema"/>
"""
LOGIN = """\
activemq {
  org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule sufficient
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
};
"""


def permissions(roles):
    return "".join(f'<permission type="{right}" roles="{roles}"/>' for right in RIGHTS)


class Artemis(JavaBroker):
    """No `artemis create` before: that is a JVM more, and the files that it makes are those above."""
    heap = "768m"

    def __init__(self, rig, folder, cache):
        super().__init__("Artemis", os.path.join(cache, f"artemis-{VERSION}"), folder, rig.free_port())
        self.stomps_port, self.mtls_port = rig.free_port(), rig.free_port()
        self.ws_port, self.wss_port = self.stomp_port, self.stomps_port
        self.stomp = StompJudge("artemis", self.stomp_port, *USER, counter=self.count)
        keys, trust = make_keystores(rig.certificates())
        tls = (f"sslEnabled=true;keyStoreType=PKCS12;keyStorePath={keys};keyStorePassword={KEYSTORE_PASSWORD};"
               f"trustStoreType=PKCS12;trustStorePath={trust};trustStorePassword={KEYSTORE_PASSWORD}")
        self.write(**{
            "broker.xml": SETTINGS.format(folder=folder, options=STOMP, tls=tls, stomp=self.stomp_port, stomps=self.stomps_port,
                                          mtls=self.mtls_port, users=permissions("users"), both=permissions("users,limited")),
            "bootstrap.xml": BOOTSTRAP.format(folder=folder), "management.xml": MANAGEMENT, "login.config": LOGIN,
            "log4j2.properties": LOG4J,
            "users.properties": "".join(f"{name} = {password}\n" for name, password in (USER, LIMITED)),
            "roles.properties": f"users = {USER[0]}\nlimited = {LIMITED[0]}\n"})

    def arguments(self):
        home, instance = self.home, self.folder
        return ["-Dlog4j2.disableJmx=true", "--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED", f"-Dartemis.home={home}",
                f"-Dartemis.instance={instance}", f"-Dartemis.instance.etc={instance}/etc", f"-Ddata.dir={instance}/data",
                f"-Djava.security.auth.login.config={instance}/etc/login.config", "-cp", f"{home}/lib/artemis-boot.jar",
                "org.apache.activemq.artemis.boot.Artemis", "run"]

    def restart(self):
        """It loses sight of a message now and then whose consumer's connection dies while it is being delivered: then it counts it
        as being delivered for ever, to nobody, until it is started again."""
        self.process.kill()
        self.start()

    def size(self, queue):
        """Messages in the queue, by a management message. None if there is no such queue."""
        answer = self.stomp.ask("activemq.management", "/topic/answers",
                                {"_AMQ_ResourceName": f"queue.{queue}", "_AMQ_Attribute": "messageCount"})
        return json.loads(answer.body)[0] if answer.headers["_AMQ_OperationSucceeded"] == "true" else None

    def count(self, queue):
        return self.size(queue) or 0

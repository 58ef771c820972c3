param name string = 'wps-certificates'
param location string = resourceGroup().location
param hub string = 'echo'
param handlerUrl string = 'http://localhost:3000/'

resource wps 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: name
  location: location
  sku: { name: 'Standard_S1', capacity: 1 }
  properties: {
    tls: { clientCertEnabled: true }
  }
}

resource clients 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = {
  parent: wps
  name: hub
  properties: {
    anonymousConnectPolicy: 'allow'
    eventHandlers: [
      { urlTemplate: handlerUrl, systemEvents: [ 'connect' ], userEventPattern: '*' }
    ]
  }
}

output url string = 'https://${wps.properties.hostName}:${wps.properties.publicPort}/client/hubs/${hub}'

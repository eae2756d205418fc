// The Azure OpenAI account that examples/azure runs on, and the two roles that Understudy needs.
//   az group create --name understudy --location swedencentral
//   az deployment group create --resource-group understudy --template-file main.bicep \
//     --parameters name=NAME principalId=$(az ad signed-in-user show --query id --output tsv)

@description('Name of the account; it becomes NAME.openai.azure.com, so it is unique in the world.')
param name string

@description('A region that fine-tunes.')
param location string = 'swedencentral'

@description('Object id of who runs Understudy: a user, a service principal or a managed identity.')
param principalId string

@description('User, ServicePrincipal (managed identities too) or Group.')
param principalType string = 'User'

@description('false: tokens of Entra ID only, no keys.')
param allowKeys bool = false

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  kind: 'OpenAI'
  sku: {
    name: 'S0'
  }
  properties: {
    customSubDomainName: name
    disableLocalAuth: !allowKeys
    publicNetworkAccess: 'Enabled'
  }
}

// Cognitive Services OpenAI Contributor: files, fine-tuning jobs, completions.
resource dataRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, 'data')
  scope: account
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'a001fd3d-188f-4b5d-821b-7da978bf7442')
  }
}

// Cognitive Services Contributor: makes and deletes deployments.
resource armRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, 'arm')
  scope: account
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68')
  }
}

// Cognitive Services Usages Reader, on the resource group: lets doctor read the quota.
resource usagesRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, principalId, 'usages')
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'bba48692-92b0-4667-a9ad-c31c7b334ac2')
  }
}

output AZURE_OPENAI_ENDPOINT string = 'https://${name}.openai.azure.com'
output AZURE_SUBSCRIPTION_ID string = subscription().subscriptionId
output AZURE_RESOURCE_GROUP string = resourceGroup().name
